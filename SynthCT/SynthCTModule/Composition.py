"""Layers of segments → one label map on one grid, and what got lost on the way, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy import ndimage

from SynthCTModule.LabelNames import labelName
from SynthCTModule.SegmentationLayers import Layer
from SynthCTModule.SegmentLabels import ResolvedSegment
from SynthCTModule.Translation import _
from SynthCTModule.VoxelGrid import Grid, valueCounts

_SAME = 1e-3
"""Voxels: grids closer than this are the same, since files store positions as rounded numbers."""


@dataclass(frozen=True)
class Painted:
    """``array`` (X, Y, Z) uint8 of label ids on ``grid`` (None: there is nothing), with ``voxels`` by label id.

    ``filled``: voxels by segment id before overlaps and cuts, for segments that have any. ``overlaps``: findings.
    """

    array: np.ndarray
    grid: Grid | None
    voxels: dict[int, int]
    filled: dict[str, int]
    overlaps: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Composed(Painted):
    """With all ``findings``, in Slicer's language."""

    findings: tuple[Any, ...] = ()


def composeLayers(
    layers: Sequence[Layer],
    segments: Sequence[ResolvedSegment],
    grid: Grid | None,
    drawnOn: Grid | None,
    vocabulary: Any,
) -> Composed:
    """One label map of the segments whose label is known.

    Args:
        grid: the grid wanted. None: the finest grid among the layers and ``drawnOn``, large enough for all of them.
        drawnOn: grid that the segmentation was drawn on, which the result then covers.

    What happens to voxels that are outside of ``grid``, in several segments or smaller than a voxel is in ``findings``.
    """
    from SynthCTLib.findings import Finding

    painted = paintLayers(layers, segments, grid, drawnOn, vocabulary)
    filled = painted.filled
    if painted.grid is None:
        return Composed(painted.array, None, {}, filled)
    findings = [
        *_joined(segments, filled, Finding),
        *painted.overlaps,
        *(_cut(_used(layers, segments), grid, Finding) if grid is not None else []),
        *_vanished(segments, filled, painted.voxels, Finding),
    ]
    return Composed(painted.array, painted.grid, painted.voxels, filled, painted.overlaps, tuple(findings))


def paintLayers(
    layers: Sequence[Layer],
    segments: Sequence[ResolvedSegment],
    grid: Grid | None,
    drawnOn: Grid | None,
    vocabulary: Any,
) -> Painted:
    """As :func:`composeLayers` without sentences: NumPy alone, so that any thread may do it."""
    from SynthCTLib.compose import Composer

    filled = _filled(layers)
    target = grid or _commonGrid(layers, drawnOn)
    if target is None:
        return Painted(np.zeros((0, 0, 0), np.uint8), None, {}, filled)
    used = _used(layers, segments)
    if len(used) == 1:  # nothing can overlap
        array = np.asfortranarray(placedIds(*used[0], target))
        return Painted(array, target, valueCounts(array), filled)
    composer = Composer(target.shape, vocabulary)
    for layer, lookup in used:
        composer.add(partial(_slab, placedIds(layer, lookup, target)))
    return Painted(composer.array, target, valueCounts(composer.array), filled, tuple(composer.overlaps()))


def _used(layers: Sequence[Layer], segments: Sequence[ResolvedSegment]) -> list[tuple[Layer, np.ndarray]]:
    """Each layer with its labels."""
    return [(layer, _lookup(layer, segments)) for layer in layers]


def _slab(ids: np.ndarray, part: slice) -> np.ndarray:
    return ids[:, :, part]


def placedIds(layer: Layer, lookup: np.ndarray, target: Grid) -> np.ndarray:
    """The label ids of a layer on another grid, nearest voxel; (X, Y, Z) uint8, 0 outside of the layer."""
    ids = _translated(layer.array, lookup)
    toLayer = np.linalg.inv(layer.affine) @ target.affine
    shift = wholeVoxels(toLayer, target.shape)
    if shift is not None:
        return _pasted(ids, shift, target.shape)
    return ndimage.affine_transform(
        ids, toLayer[:3, :3], toLayer[:3, 3], output_shape=target.shape, order=0, mode="constant", cval=0
    )


def wholeVoxels(between: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray | None:
    """The shift (3,) int of an affine from a grid of this shape to another; None unless it moves by whole voxels."""
    shift = np.rint(between[:3, 3])
    parallel = np.allclose(between[:3, :3], np.eye(3), atol=_SAME / max(shape))
    return shift.astype(int) if parallel and np.allclose(between[:3, 3], shift, atol=_SAME) else None


def _pasted(ids: np.ndarray, shift: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """``ids`` moved by whole voxels: result[i] = ids[i + shift]."""
    if not shift.any() and ids.shape == tuple(shape):
        return ids
    result = np.zeros(shape, np.uint8, order="F")
    first = np.maximum(0, -shift)
    last = np.minimum(shape, np.array(ids.shape) - shift)
    if (first < last).all():
        to = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        source = tuple(slice(a, b) for a, b in zip(first + shift, last + shift, strict=True))
        result[to] = ids[source]
    return result


def _commonGrid(layers: Sequence[Layer], drawnOn: Grid | None) -> Grid | None:
    """The finest lattice, as large as all layers' voxels and ``drawnOn`` together."""
    boxes = [(layer.affine, box) for layer in layers if (box := _box(layer.array)) is not None]
    if not boxes:
        return None
    if drawnOn is not None:
        boxes.insert(0, (drawnOn.affine, (np.zeros(3), np.array(drawnOn.shape) - 1.0)))
    lattice = min((affine for affine, _box in boxes), key=lambda affine: round(abs(np.linalg.det(affine[:3, :3])), 6))
    toLattice = np.linalg.inv(lattice)
    edges = [_corners(low - 0.5, high + 0.5) @ (toLattice @ affine).T for affine, (low, high) in boxes]
    corners = np.concatenate(edges)[:, :3]
    low = np.floor(corners.min(axis=0) + 0.5 + _SAME)
    high = np.ceil(corners.max(axis=0) - 0.5 - _SAME)
    affine = lattice.copy()
    affine[:3, 3] = (lattice @ np.append(low, 1.0))[:3]
    x, y, z = (high - low + 1).astype(int)
    return Grid((int(x), int(y), int(z)), affine)


def _corners(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The eight corners (8, 4; homogeneous) of a box."""
    picks = np.array(list(np.ndindex(2, 2, 2)))
    return np.column_stack([np.where(picks, high, low), np.ones(8)])


def _box(array: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    from SynthCTLib.slabs import occupied_box

    return occupied_box(array)


def _lookup(layer: Layer, segments: Sequence[ResolvedSegment]) -> np.ndarray:
    """Label value → MAISI id (uint8); 0 for values of no segment and of segments without label."""
    labels = {segment.segmentId: segment.labelId or 0 for segment in segments}
    lookup = np.zeros(_indices(layer), np.uint8)
    for value, segmentId in layer.segments.items():
        lookup[value] = labels[segmentId]
    return lookup


def _translated(array: np.ndarray, lookup: np.ndarray) -> np.ndarray:
    ids = np.empty(array.shape, np.uint8, order="F")
    for part in _parts(array.shape):
        ids[:, :, part] = lookup[_clipped(array[:, :, part], len(lookup))]
    return ids


def _indices(layer: Layer) -> int:
    """So many entries has a table that is indexed by the values of a layer: those of bytes need no look then."""
    return max(256, max(layer.segments, default=0) + 2)


def _clipped(values: np.ndarray, count: int) -> np.ndarray:
    """Label values as indices below ``count``; what is above becomes the last one, which no segment has."""
    return values if values.dtype == np.uint8 else np.clip(values, 0, count - 1).astype(np.intp)


def _parts(shape: tuple[int, ...]) -> Iterator[slice]:
    from SynthCTLib.slabs import slabs

    return slabs(shape)


def _filled(layers: Sequence[Layer]) -> dict[str, int]:
    filled: dict[str, int] = {}
    for layer in layers:
        counts = valueCounts(layer.array)
        filled.update({segmentId: counts[value] for value, segmentId in layer.segments.items() if value in counts})
    return filled


def _joined(segments: Sequence[ResolvedSegment], filled: dict[str, int], Finding: Any) -> list[Any]:
    byLabel: dict[int, list[str]] = {}
    for segment in segments:
        if segment.labelId is not None and filled.get(segment.segmentId):
            byLabel.setdefault(segment.labelId, []).append(segment.name)
    text = _("The segments {names} are joined as {label}.")
    return [
        Finding(
            "info",
            "segments-joined",
            text.format(names=_quoted(names), label=labelName(labelId)),
            labels=(labelId,),
        )
        for labelId, names in byLabel.items()
        if len(names) > 1
    ]


def _cut(used: list[tuple[Layer, np.ndarray]], target: Grid, Finding: Any) -> list[Any]:
    outside = np.zeros(256, np.int64)
    total = np.zeros(256, np.int64)
    for layer, lookup in used:
        ids = _translated(layer.array, lookup)
        toTarget = np.linalg.inv(target.affine) @ layer.affine
        total += np.bincount(ids.ravel(order="K"), minlength=256)
        box = _box(ids)
        if box is not None and not _inside(_corners(*box) @ toTarget.T, target.shape).all():
            outside += _countOutside(ids, toTarget, target.shape)
    text = _("{count} of {total} voxels of {label} lie outside of the grid and are cut off.")
    return [
        Finding(
            "warning",
            "outside",
            text.format(count=outside[i], total=total[i], label=labelName(int(i))),
            _("Choose a larger grid, or none."),
            labels=(int(i),),
        )
        for i in np.flatnonzero(outside)
    ]


def _countOutside(ids: np.ndarray, toTarget: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    counts = np.zeros(256, np.int64)
    for part in _parts(ids.shape):
        slab = ids[:, :, part]
        index = np.argwhere(slab)
        values = slab[tuple(index.T)]
        index[:, 2] += part.start
        points = np.column_stack([index, np.ones(len(index))]) @ toTarget.T
        counts += np.bincount(values[~_inside(points, shape)], minlength=256)
    return counts


def _inside(points: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Which points (N, 4), in voxels of a grid, lie in one of its voxels."""
    within = (points[:, :3] > -0.5 - _SAME) & (points[:, :3] < np.array(shape) - 0.5 + _SAME)
    return np.all(within, axis=1)


def _vanished(
    segments: Sequence[ResolvedSegment], filled: dict[str, int], voxels: dict[int, int], Finding: Any
) -> list[Any]:
    gone = [s for s in segments if s.labelId and filled.get(s.segmentId) and not voxels.get(s.labelId)]
    text = _("The segment '{name}' ({count} voxels) is not in the result: it lies outside or under other segments.")
    return [
        Finding("warning", "vanished", text.format(name=s.name, count=filled[s.segmentId]), labels=(s.labelId,))
        for s in gone
    ]


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
