"""Working through a large volume a few slices at a time, so that a pass needs megabytes and not another volume.

What is counted per label comes from one pass over runs of equal ids, of which a label map has far fewer than voxels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

SLAB_VOXELS = 2**23
RUN_VOXELS = 2**21
"""Voxels at a time where runs are counted, since at worst each voxel is one and takes 60 bytes."""
ROWS = 16
"""Planes at a time where the order in memory changes: those being read and those being written fit the cache."""


def slabs(shape: Sequence[int], voxels: int = SLAB_VOXELS) -> Iterator[slice]:
    """Slices along the third axis of ``shape`` (X, Y, Z), each of about ``voxels`` voxels and one or more planes."""
    thickness = max(1, voxels // max(1, int(shape[0]) * int(shape[1])))
    for start in range(0, int(shape[2]), thickness):
        yield slice(start, min(start + thickness, int(shape[2])))


def in_file_order(array: np.ndarray) -> np.ndarray:
    """The same array with X fastest in memory, as files store it: itself if it is so already, else a copy."""
    if array.flags.f_contiguous:
        return array
    result = np.empty(array.shape, array.dtype, order="F")
    order = memory_order(array)
    source, target = array.transpose(order), result.transpose(order)
    for part in blocks(len(source)):
        target[part] = source[part]
    return result


def memory_order(array: np.ndarray) -> list[int]:
    """The axes of ``array`` from the slowest to the fastest in memory."""
    return sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))


def blocks(count: int) -> Iterator[slice]:
    """Slices that divide ``count`` planes into ROWS at a time.

    Where a copy changes the order in memory, cut along the axis that is slowest in the source.
    """
    return (slice(start, min(start + ROWS, count)) for start in range(0, count, ROWS))


def count_ids(array: np.ndarray) -> np.ndarray:
    """Voxels per id: entry ``i`` is the count of id ``i``. ``array`` is (X, Y, Z), uint8 or uint16."""
    counts = np.zeros(int(np.iinfo(array.dtype).max) + 1)
    for _, slab in _memory_slabs(array.transpose(memory_order(array))):
        ids, _, lengths = _runs(slab)
        counts += np.bincount(ids, lengths, len(counts))
    return counts.astype(np.int64)


def id_profiles(array: np.ndarray) -> list[np.ndarray]:
    """Voxels of each id in each plane, for each axis of ``array`` (X, Y, Z; ids 0-255): three (planes, 256) int64."""
    order = memory_order(array)
    turned = array.transpose(order)
    tables = [np.zeros((size + 1, 256)) for size in turned.shape]
    for start, slab in _memory_slabs(turned):
        ids, first, lengths = _runs(slab)
        a, b, c = np.unravel_index(first, slab.shape)
        tables[0] += _table(a + start, ids, lengths, tables[0].shape)
        tables[1] += _table(b, ids, lengths, tables[1].shape)
        # Along its own direction a run adds 1 to each plane from its first voxel on, until it ends.
        tables[2] += _table(c, ids, None, tables[2].shape) - _table(c + lengths, ids, None, tables[2].shape)
    np.cumsum(tables[2], axis=0, out=tables[2])
    return [tables[order.index(axis)][:-1].astype(np.int64) for axis in range(3)]


def occupied_box(array: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """First and last index (inclusive; each (3,) int) of the nonzero voxels of ``array``; None if all are 0."""
    used = [np.zeros(size, dtype=bool) for size in array.shape]
    for part in slabs(array.shape):
        slab = array[:, :, part]
        if not slab.any():
            continue
        filled = slab != 0
        flat = filled.any(axis=2)
        used[0] |= flat.any(axis=1)
        used[1] |= flat.any(axis=0)
        used[2][part] = filled.any(axis=(0, 1))
    if not used[0].any():
        return None
    spans = [np.flatnonzero(axis)[[0, -1]] for axis in used]
    return np.array([span[0] for span in spans]), np.array([span[1] for span in spans])


def _memory_slabs(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """First index and contiguous values of some planes at a time along the first axis of ``array``."""
    thickness = max(1, RUN_VOXELS // max(1, array[0].size)) if len(array) else 1
    for start in range(0, len(array), thickness):
        yield start, np.ascontiguousarray(array[start : start + thickness])


def _runs(slab: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs of one id along the last axis of a contiguous ``slab``: ids, flat index of the first voxel, lengths."""
    begins = np.ones(slab.shape, bool)
    np.not_equal(slab[..., 1:], slab[..., :-1], out=begins[..., 1:])
    first = np.flatnonzero(begins)
    return slab.reshape(-1)[first].astype(np.intp), first, np.diff(first, append=slab.size)


def _table(planes: np.ndarray, ids: np.ndarray, weights: np.ndarray | None, shape: tuple[int, int]) -> np.ndarray:
    """Sum of ``weights`` (None: count) by plane and id."""
    return np.bincount(planes * shape[1] + ids, weights, shape[0] * shape[1]).reshape(shape)
