"""Body regions from head to pelvis: what a volume shows, as MAISI's ddpm model is told and as grids are chosen by."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from SynthCTLib.errors import InputError
from SynthCTLib.labels import load_vocabulary

REGIONS = ("head", "chest", "abdomen", "pelvis")

_SYNONYMS = {
    "neck": "head",
    "thorax": "chest",
    "lung": "chest",
    "abdominal": "abdomen",
    "belly": "abdomen",
    "lower": "pelvis",
    "hip": "pelvis",
    "thigh": "pelvis",
    "leg": "pelvis",
    "legs": "pelvis",
}
_WHOLE_BODY = {"all", "whole", "wholebody", "body"}
_JOINING_WORDS = {"to", "and", "with"}


@dataclass(frozen=True)
class Region:
    """A range of body regions without gaps: indices into :data:`REGIONS` of the topmost and the lowest one."""

    top: int
    bottom: int

    def __post_init__(self) -> None:
        if not 0 <= self.top <= self.bottom < len(REGIONS):
            raise InputError(
                f"A body region from {self.top} to {self.bottom} does not exist; "
                f"use 0 (head) to {len(REGIONS) - 1} (pelvis), the top region first."
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the regions, from top to bottom."""
        return REGIONS[self.top : self.bottom + 1]

    def __str__(self) -> str:
        return "-".join(self.names)


def region_from_labels(ids: Iterable[int]) -> Region | None:
    """The region from the topmost to the lowest one whose marker labels are among ``ids``; None without any marker.

    Markers, from the label table, are the reference's: brain and skull, lung lobes, upper abdominal organs, femora.
    """
    present = set(ids)
    shown = {label.region_marker for label in load_vocabulary().labels if label.id in present}
    found = [index for index, name in enumerate(REGIONS) if name in shown]
    return Region(found[0], found[-1]) if found else None


def parse_region(text: str) -> Region:
    """A region as users write it: ``chest``, ``chest-abdomen``, ``head to pelvis``, ``lower``, ``whole body``.

    Regions between the named ones are included. Raises InputError for words that are no region.
    """
    words = [word for word in re.findall(r"[a-z0-9]+", text.lower()) if word not in _JOINING_WORDS]
    if words and set(words) <= _WHOLE_BODY:
        return Region(0, len(REGIONS) - 1)
    names = [_SYNONYMS.get(word, word) for word in words]
    if not names or any(name not in REGIONS for name in names):
        raise InputError(
            f"'{text}' is not a body region; use {', '.join(REGIONS)}, or a range of them such as chest-abdomen."
        )
    indices = [REGIONS.index(name) for name in names]
    return Region(min(indices), max(indices))
