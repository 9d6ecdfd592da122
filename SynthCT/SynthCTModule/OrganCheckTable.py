"""The organ check of a report as rows of a table, with a place to jump to for each organ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from SynthCTModule.EngineText import engineText
from SynthCTModule.LabelColors import vocabulary

GREEN, YELLOW, RED, GRAY = "green", "yellow", "red", "gray"

Position = tuple[float, float, float]


@dataclass(frozen=True)
class OrganRow:
    """One structure or organ group; HU are medians, ``center`` is RAS mm inside of the structure or None.

    ``light``: green in order; red an organ group out of its range, which fails the CT; yellow a single structure out
    of its range; gray too small to judge, or without a range. ``labelId`` is None for groups of several labels.
    """

    name: str
    labelId: int | None
    medianHu: float | None
    low: float | None
    high: float | None
    light: str
    sentence: str
    center: Position | None


def organRows(report: Mapping[str, Any], centers: Mapping[int, Position]) -> list[OrganRow]:
    """Rows of a report (report.json), worst first, then in its order. ``centers``: by label id (labelCenters)."""
    rows = [_row(organ, centers) for organ in report.get("organs", ())]
    return sorted(rows, key=lambda row: (RED, YELLOW, GREEN, GRAY).index(row.light))


def labelCenters(array: np.ndarray, affine: np.ndarray) -> dict[int, Position]:
    """For each label of a map (X, Y, Z; affine voxel → RAS mm) the voxel of it nearest to its center of mass."""
    return {
        number + 1: _center(array, affine, number + 1, box)
        for number, box in enumerate(ndimage.find_objects(array))
        if box is not None
    }


def _center(array: np.ndarray, affine: np.ndarray, label: int, box: tuple[slice, ...]) -> Position:
    points = np.argwhere(array[box] == label)
    nearest = points[np.argmin(((points - points.mean(axis=0)) ** 2).sum(axis=1))]
    x, y, z = affine[:3, :3] @ (nearest + [part.start for part in box]) + affine[:3, 3]
    return float(x), float(y), float(z)


def _row(organ: Mapping[str, Any], centers: Mapping[int, Position]) -> OrganRow:
    return OrganRow(
        engineText(organ["name"]),
        organ["id"],
        organ["median_hu"],
        organ["low"],
        organ["high"],
        _light(organ),
        engineText(organ["sentence"]),
        next((centers[label] for label in _labels(organ) if label in centers), None),
    )


def _light(organ: Mapping[str, Any]) -> str:
    if organ["verdict"] == "ok":
        return GREEN
    if organ["verdict"] in ("low", "high"):
        return RED if organ.get("group") else YELLOW
    return GRAY


def _labels(organ: Mapping[str, Any]) -> tuple[int, ...]:
    return (organ["id"],) if organ["id"] is not None else vocabulary().group_ids(organ["group"])
