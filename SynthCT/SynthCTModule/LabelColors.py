"""Labels as Slicer shows them: the color table node, and the terminology entry of a label."""

from __future__ import annotations

from typing import Any

import slicer

from SynthCTModule.EnginePath import ensureEngineOnPath, resourcesFolder
from SynthCTModule.Translation import _

TABLE_NAME = "SynthCT labels"
TABLE_ATTRIBUTE = "SynthCT.LabelTable"
"""Marks the color table node, whatever it is renamed to."""
_REGIONS = "Anatomic codes - DICOM master list"


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


def labelColorTable(scene: Any = None) -> Any:
    """The color table node of all labels in the scene (vtkMRMLColorTableNode); read from the table when missing.

    Raises RuntimeError when Slicer cannot read the table.
    """
    scene = scene or slicer.mrmlScene
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLColorTableNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLColorTableNode")
        if node.GetAttribute(TABLE_ATTRIBUTE):
            return node
    return _read(scene, str(resourcesFolder() / "labels" / "synthct-labels.csv"))


def isLabelColorTable(node: Any) -> bool:
    """Whether a color node is SynthCT's, so that the numbers of a label map are MAISI ids."""
    return node is not None and bool(node.GetAttribute(TABLE_ATTRIBUTE))


def namesLabels(node: Any) -> bool:
    """Whether a color node tells what numbers mean: made for a label map, and not one that Slicer comes with."""
    return node is not None and not isLabelColorTable(node) and not node.GetSingletonTag()


def _read(scene: Any, path: str) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLColorTableNode", TABLE_NAME)
    storage = slicer.vtkMRMLColorTableStorageNode()
    storage.SetFileName(path)
    if not storage.ReadData(node):
        scene.RemoveNode(node)
        raise RuntimeError(_("The label table {path} cannot be read; install SynthCT again.").format(path=path))
    node.SetName(TABLE_NAME)
    node.SetAttribute(TABLE_ATTRIBUTE, "1")
    return node


def _serialized(code: Any) -> str:
    return f"{code.scheme}^{code.value}^{code.meaning}" if code else "^^"
