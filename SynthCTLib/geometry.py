"""Moving volumes between grids without moving anything in the world: voxel centers stay where the affine puts them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from SynthCTLib.slabs import blocks, memory_order, slabs
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
    if _parallel(step, shape):
        return Volume(_pick(volume.array, shape, step), affine)
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
    if _parallel(step, shape):
        _interpolate(volume.array, step, result, fill)
    else:
        ndimage.affine_transform(volume.array, step[:3, :3], step[:3, 3], output=result, order=1, mode="nearest")
        _fill_outside(result, volume.array.shape, step, fill)
    return Volume(result, affine)


def interpolate_along(values: np.ndarray, axis: int, position: np.ndarray) -> np.ndarray:
    """Linear interpolation of float ``values`` at ``position`` (in voxels) along one axis, constant beyond the ends."""
    position = np.clip(position, 0, values.shape[axis] - 1)
    below = position.astype(int)
    above = np.minimum(below + 1, values.shape[axis] - 1)
    weight = (position - below).astype(values.dtype)
    weight = np.expand_dims(weight, tuple(other for other in range(values.ndim) if other != axis))
    result, upper = values.take(below, axis), values.take(above, axis)
    result *= 1 - weight
    upper *= weight
    result += upper
    return result


def _parallel(step: np.ndarray, shape: Sequence[int]) -> bool:
    """Whether the axes of two grids are parallel all over ``shape``; ``step``: index → source index."""
    off_axis = np.abs(step[:3, :3] - np.diag(np.diag(step)[:3])) @ np.array(shape)
    return bool(off_axis.max() < _SAME)


def _pick(array: np.ndarray, shape: Sequence[int], step: np.ndarray) -> np.ndarray:
    """Nearest neighbor between grids with parallel axes: picking planes, fast and without arithmetic per voxel."""
    result = np.zeros(tuple(shape), dtype=array.dtype)
    source, target, order = [], [], memory_order(array)
    for axis, position in enumerate(_positions(shape, step)):
        # The small step up makes ties fall the same way everywhere in spite of rounding.
        index = np.floor(position + 0.5 + 1e-6).astype(np.intp)
        inside = np.flatnonzero((index >= 0) & (index < array.shape[axis]))
        if not len(inside):
            return result
        source.append(index[inside])
        target.append(slice(int(inside[0]), int(inside[-1]) + 1))
    covered, array = result[tuple(target)].transpose(order), array.transpose(order)
    first, second, third = (source[axis] for axis in order)
    for part in blocks(len(covered)):
        planes, low = _planes_around(first[part], array)
        covered[part] = planes.take(first[part] - low, 0).take(second, 1).take(third, 2)
    return result


def _interpolate(array: np.ndarray, step: np.ndarray, result: np.ndarray, fill: float) -> None:
    """Linear interpolation between grids with parallel axes, one axis after the other, into ``result``."""
    order, positions = memory_order(array), _positions(result.shape, step)
    outside = [(p < -0.5) | (p > size - 0.5) for p, size in zip(positions, array.shape, strict=True)]
    whole = result
    first, second, third = (positions[axis] for axis in order)
    array, result = array.transpose(order), result.transpose(order)
    first = np.clip(first, 0, len(array) - 1)
    for part in blocks(len(result)):
        planes, low = _planes_around(first[part], array)
        block = np.empty(result[part].shape, result.dtype)
        for target, position in zip(block, first[part] - low, strict=True):  # plane by plane: those fit the cache
            around = planes[int(position) : int(position) + 2].astype(np.float64)
            plane = interpolate_along(around, 0, np.array([position % 1]))[0]
            plane = interpolate_along(interpolate_along(plane, 0, second), 1, third)
            if result.dtype.kind in "iu":
                plane += np.copysign(0.5, plane)  # halves away from zero, as SciPy rounds where axes are not parallel
            target[...] = plane
        result[part] = block
    for axis, beyond in enumerate(outside):
        whole[(slice(None),) * axis + (beyond,)] = fill


def _positions(shape: Sequence[int], step: np.ndarray) -> list[np.ndarray]:
    """Source position of each voxel along each axis, where axes are parallel."""
    return [np.arange(shape[axis]) * step[axis, axis] + step[axis, 3] for axis in range(3)]


def _planes_around(position: np.ndarray, array: np.ndarray) -> tuple[np.ndarray, int]:
    """The planes of ``array`` along its first axis around ``position``, in C order, and the index of the first."""
    low, high = int(position.min()), int(np.ceil(position.max()))
    return np.ascontiguousarray(array[low : high + 1]), low


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
