"""Working through a large volume a few slices at a time, so that a pass needs megabytes and not another volume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

SLAB_VOXELS = 2**23


def slabs(shape: Sequence[int], voxels: int = SLAB_VOXELS) -> Iterator[slice]:
    """Slices along the third axis of ``shape`` (X, Y, Z), each of about ``voxels`` voxels and one or more planes."""
    thickness = max(1, voxels // max(1, int(shape[0]) * int(shape[1])))
    for start in range(0, int(shape[2]), thickness):
        yield slice(start, min(start + thickness, int(shape[2])))


def count_ids(array: np.ndarray) -> np.ndarray:
    """Voxels per id: entry ``i`` is the count of id ``i``. ``array`` is (X, Y, Z), uint8 or uint16."""
    counts = np.zeros(int(np.iinfo(array.dtype).max) + 1, dtype=np.int64)
    for part in slabs(array.shape):
        slab = array[:, :, part]
        if slab.any():
            counts += np.bincount(slab.ravel(order="K"), minlength=len(counts))
        else:
            counts[0] += slab.size
    return counts


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
