"""Moving volumes between grids without moving anything in the world: voxel centers stay where the affine puts them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from SynthCTLib.slabs import slabs
from SynthCTLib.volume import Volume

# Grids that differ by less than this (in voxels, at the far corner) are the same grid.
_SAME = 1e-3


def to_ras(volume: Volume) -> Volume:
    """The same voxels with axes (X, Y, Z) closest to right, anterior, superior: flips and swaps only, as a view.

    Oblique and sheared affines stay oblique and sheared; every voxel keeps its world position exactly.
    """
    frame = nearest_rotation(volume.affine)
    axes = [-1, -1, -1]  # of the array, for X, Y, Z; the clearest direction chooses first
    free = np.abs(frame)
    for _ in range(3):
        world, axis = np.unravel_index(free.argmax(), free.shape)
        axes[world] = int(axis)
        free[world, :], free[:, axis] = -1, -1
    flipped = [frame[world, axis] < 0 for world, axis in enumerate(axes)]
    step = tuple(slice(None, None, -1 if flip else 1) for flip in flipped)
    affine = volume.affine.astype(float)
    for world, axis in enumerate(axes):
        sign, last = (-1, volume.array.shape[axis] - 1) if flipped[world] else (1, 0)
        affine[:, world] = sign * volume.affine[:, axis]
        affine[:3, 3] += last * volume.affine[:3, axis]
    return Volume(volume.array.transpose(axes)[step], affine)


def shear(affine: np.ndarray) -> float:
    """Largest cosine between two voxel axes: 0 for orthogonal axes."""
    unit = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.abs(unit.T @ unit - np.eye(3)).max())


def nearest_rotation(affine: np.ndarray) -> np.ndarray:
    """(3, 3) orthonormal directions closest to the voxel axes (polar decomposition; equal to them without shear)."""
    u, _, vt = np.linalg.svd(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    return u @ vt


def corners(low: ArrayLike, high: ArrayLike, affine: np.ndarray) -> np.ndarray:
    """(8, 3) world positions of the corners of the voxel box from index ``low`` to ``high``, outer faces included."""
    ends = np.array([np.asarray(low, dtype=float) - 0.5, np.asarray(high, dtype=float) + 0.5])
    index = np.array([[ends[i, 0], ends[j, 1], ends[k, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    return index @ affine[:3, :3].T + affine[:3, 3]


def same_grid(volume: Volume, shape: Sequence[int], affine: np.ndarray) -> bool:
    """Whether ``volume`` lies on this grid already."""
    if tuple(volume.array.shape) != tuple(shape):
        return False
    step = np.linalg.inv(volume.affine) @ affine - np.eye(4)
    return bool(np.abs(step[:3, :3] @ np.array(shape)).max() < _SAME and np.abs(step[:3, 3]).max() < _SAME)


def resample_labels(volume: Volume, shape: Sequence[int], affine: np.ndarray) -> Volume:
    """Nearest-neighbor values of ``volume`` on another grid, same number type; 0 outside the volume's voxels."""
    if same_grid(volume, shape, affine):
        return Volume(volume.array, affine)
    step = np.linalg.inv(volume.affine) @ affine
    scale = np.diag(step)[:3]
    off_axis = np.abs(step[:3, :3] - np.diag(scale)) @ np.array(shape)
    if off_axis.max() < _SAME:
        return Volume(_pick(volume.array, shape, scale, step[:3, 3]), affine)
    result = np.zeros(tuple(shape), dtype=volume.array.dtype)
    # grid-constant: a voxel reaches half a voxel beyond its center, also at the border of the volume.
    ndimage.affine_transform(
        volume.array, step[:3, :3], step[:3, 3], output=result, order=0, mode="grid-constant", cval=0
    )
    return Volume(result, affine)


def resample_image(volume: Volume, shape: Sequence[int], affine: np.ndarray, fill: float = -1000) -> Volume:
    """Linear interpolation of ``volume`` on another grid, same number type; ``fill`` outside the volume's voxels."""
    if same_grid(volume, shape, affine):
        return Volume(volume.array, affine)
    step = np.linalg.inv(volume.affine) @ affine
    result = np.empty(tuple(shape), dtype=volume.array.dtype)
    ndimage.affine_transform(volume.array, step[:3, :3], step[:3, 3], output=result, order=1, mode="nearest")
    _fill_outside(result, volume.array.shape, step, fill)
    return Volume(result, affine)


def _pick(array: np.ndarray, shape: Sequence[int], scale: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Nearest neighbor between grids with parallel axes: picking planes, fast and without arithmetic per voxel."""
    result = np.zeros(tuple(shape), dtype=array.dtype)
    source, target = [], []
    for axis in range(3):
        # The small step up makes ties fall the same way everywhere in spite of rounding.
        index = np.floor(np.arange(shape[axis]) * scale[axis] + offset[axis] + 0.5 + 1e-6).astype(np.intp)
        inside = (index >= 0) & (index < array.shape[axis])
        source.append(index[inside])
        target.append(np.flatnonzero(inside))
    result[np.ix_(*target)] = array[np.ix_(*source)]
    return result


def _fill_outside(result: np.ndarray, source_shape: Sequence[int], step: np.ndarray, fill: float) -> None:
    """Set the voxels of ``result`` whose centers lie outside the source's voxels; ``step``: index → source index."""
    low, high = np.full(3, -0.5), np.array(source_shape) - 0.5
    ends = corners([0.5] * 3, np.array(result.shape) - 1.5, step)
    if ((ends >= low) & (ends <= high)).all():
        return
    i, j = np.ogrid[: result.shape[0], : result.shape[1]]
    for part in slabs(result.shape):
        k = np.arange(part.start, part.stop)
        outside = np.zeros((*result.shape[:2], len(k)), dtype=bool)
        for axis in range(3):
            plane = (step[axis, 0] * i + step[axis, 1] * j + step[axis, 3])[:, :, None] + step[axis, 2] * k
            outside |= (plane < low[axis]) | (plane > high[axis])
        result[:, :, part][outside] = fill
