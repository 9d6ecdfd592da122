"""Organ groups: what the reference (NV-Generate-CT) judges the density of a CT by, of one label or of several.

Members are in the column ``OrganGroup`` of the label table; title and range of groups of several labels in
``Resources/labels/groups.json``. A group of one label has the name and the range of this label.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from SynthCTLib.labels import Label


@dataclass(frozen=True)
class OrganGroup:
    """One group: ``ids`` of its labels in ascending order, ``hu_range`` the accepted median HU of all their voxels."""

    name: str
    title: str
    ids: tuple[int, ...]
    hu_range: tuple[float, float] | None


def read_groups(path: Path, labels: Iterable[Label]) -> tuple[OrganGroup, ...]:
    """The groups that the labels belong to, in the order of their first members.

    Args:
        path: JSON, name of the group → ``title`` and ``hu`` [low, high], for groups of several labels.
        labels: the label table.
    """
    shared = json.loads(path.read_text(encoding="utf-8"))
    members: dict[str, list[Label]] = {}
    for label in labels:
        if label.organ_group:
            members.setdefault(label.organ_group, []).append(label)
    return tuple(_group(name, found, shared) for name, found in members.items())


def _group(name: str, members: list[Label], shared: dict[str, dict]) -> OrganGroup:
    ids = tuple(label.id for label in members)
    if len(members) == 1:
        return OrganGroup(name, members[0].display_name, ids, members[0].hu_range)
    low, high = shared[name]["hu"]
    return OrganGroup(name, shared[name]["title"], ids, (low, high))
