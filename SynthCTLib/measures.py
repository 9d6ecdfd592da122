"""What can be measured on a structure of a label map: volume, longest extent, longest diameter in a transverse slice.

NumPy and SciPy only, since it runs in 3D Slicer's own process.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError, distance

from SynthCTLib.errors import InputError
from SynthCTLib.labels import load_vocabulary

Measure = Literal["volume_ml", "extent_mm", "diameter_mm"]
UNITS: dict[str, str] = {"volume_ml": "ml", "extent_mm": "mm", "diameter_mm": "mm"}


def measure(labels: np.ndarray, affine: np.ndarray, label: int, what: Measure) -> float:
    """One measure of a structure, all its pieces together.

    Args:
        labels: (X, Y, Z) uint8, the third axis along the body. affine: (4, 4), voxel index → RAS mm.
        what: ``volume_ml``; ``extent_mm``: the longest straight line between two of its points, from outer edge to
            outer edge; ``diameter_mm``: the same within one transverse slice, the slice with the longest one.

    Raises:
        InputError: the structure is not in the label map.
    """
    mask = labels == label
    box = ndimage.find_objects(mask.view(np.uint8))
    if not box or box[0] is None:
        name = load_vocabulary().by_id(label).display_name
        raise InputError(f"{name} is not in the label map, so that it cannot be measured.")
    part = mask[box[0]]
    axes = affine[:3, :3]
    if what == "volume_ml":
        return float(part.sum() * abs(np.linalg.det(axes)) / 1000)
    if what == "extent_mm":
        return _longest(part, axes)
    return max(_longest(part[:, :, [k]], axes) for k in range(part.shape[2]) if part[:, :, k].any())


def _longest(part: np.ndarray, axes: np.ndarray) -> float:
    """Longest distance in mm between voxels of ``part``, with the length of a voxel in that direction added."""
    spacing = np.linalg.norm(axes, axis=0)
    points = _outermost(np.argwhere(part & ~ndimage.binary_erosion(part)) @ axes.T)
    if len(points) == 1:
        return float(spacing[:2].max())
    between = distance.squareform(distance.pdist(points))
    first, second = np.unravel_index(between.argmax(), between.shape)
    longest = float(between[first, second])
    direction = (points[second] - points[first]) / longest
    # The voxel's length in this direction: exact along an axis, between its sides' lengths otherwise.
    along = (axes / spacing).T @ direction
    return longest + float((along**2 * spacing).sum())


def _outermost(points: np.ndarray) -> np.ndarray:
    """Corners of the convex hull, or all points where they are few or lie in a plane."""
    flat = points - points.mean(axis=0)
    _, strength, directions = np.linalg.svd(flat, full_matrices=False)
    rank = int((strength > 1e-6 * max(strength[0], 1e-9)).sum())
    if len(points) <= rank + 1 or rank < 2:
        return points if rank else points[:1]
    try:
        return points[ConvexHull(flat @ directions[:rank].T).vertices]
    except QhullError:
        return points
