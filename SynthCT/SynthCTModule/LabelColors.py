"""Labels as Slicer shows them: color and terminology entry of a label, and which color tables name labels."""

from __future__ import annotations

from functools import cache
from typing import Any

from SynthCTModule.EnginePath import ensureEngineOnPath

TABLE_NAME = "SynthCT labels"
_REGIONS = "Anatomic codes - DICOM master list"


@cache
def vocabulary() -> Any:
    """The engine's table of labels (SynthCTLib.labels.Vocabulary)."""
    ensureEngineOnPath()
    from SynthCTLib.labels import load_vocabulary

    return load_vocabulary()


def labelColor(labelId: int) -> tuple[float, float, float]:
    """Red, green and blue (0-1) of a label."""
    red, green, blue = (value / 255 for value in vocabulary().by_id(labelId).color)
    return red, green, blue


def terminologyEntry(labelId: int) -> str:
    """What Slicer stores on a segment: context~category~type~modifier~context~region~modifier; unique per label."""
    terms = vocabulary().by_id(labelId).terminology
    kind = (terms.category, terms.type, terms.modifier)
    place = (terms.region, terms.region_modifier)
    return "~".join([TABLE_NAME, *map(_serialized, kind), _REGIONS, *map(_serialized, place)])


def namesLabels(node: Any) -> bool:
    """Whether a color node tells what numbers mean: made for a label map, and not one that Slicer comes with."""
    return node is not None and not node.GetSingletonTag()


def _serialized(code: Any) -> str:
    return f"{code.scheme}^{code.value}^{code.meaning}" if code else "^^"
