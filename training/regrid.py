"""A volume on the grid that a recipe wants: without gantry tilt, at a spacing, cropped around its center, resized."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from SynthCTLib.errors import InputError
from SynthCTLib.geometry import corners, resample_image, resample_labels, shear
from SynthCTLib.volume import Volume

AIR = -1000.0
TILT = 0.01
"""Sine of the angle above which axes are not taken as orthogonal (0.6 degrees)."""
LEAST_BACKGROUND = 0.2
"""Share of voxels at the minimum around something cut out, such as a brain; a box around a ball has 0.48."""
STEPS = ("spacing", "crop", "resize")


def straighten(image: Volume) -> Volume:
    """The image (axes RAS) on orthogonal axes that hold all its voxels, linear in between; itself without tilt."""
    if shear(image.affine) <= TILT:
        return image
    spacing = np.array(image.spacing)
    # A tilted gantry turns the slices; the table, along which they follow one another, stays with the patient.
    up = image.affine[:3, 2] / spacing[2]
    front = np.cross(up, image.affine[:3, 0])
    front /= np.linalg.norm(front)
    frame = np.column_stack([np.cross(front, up), front, up])
    ends = corners([0, 0, 0], np.array(image.shape) - 1, image.affine) @ frame
    low, high = ends.min(0), ends.max(0)
    shape = np.maximum(1, np.ceil((high - low) / spacing - 1e-6).astype(int))
    affine = np.eye(4)
    affine[:3, :3] = frame * spacing
    affine[:3, 3] = frame @ (low + spacing / 2)
    return resample_image(image, shape.tolist(), affine, AIR)


def target_grid(image: Volume, transform: dict) -> tuple[tuple[int, int, int], np.ndarray]:
    """(shape, affine) after the steps of ``transform``: ``spacing`` in mm, ``crop`` and ``resize`` in voxels, in that
    order; a step that is null or missing is left out. Cropping an image that is smaller adds air around it.

    Raises InputError for an unknown step or one without three positive numbers.
    """
    shape, affine = np.array(image.shape), image.affine
    for name in transform:
        if name not in STEPS:
            raise InputError(f"There is no transform '{name}'; use {', '.join(STEPS)}.")
    for name in STEPS:
        wanted = transform.get(name)
        if wanted is None:
            continue
        if not isinstance(wanted, Sequence) or len(wanted) != 3 or min(wanted) <= 0:
            raise InputError(f"The transform '{name}' needs three positive numbers, not {wanted}.")
        if name == "crop":
            affine = _placed(affine, (shape - 1) / 2, np.ones(3), (np.array(wanted) - 1) / 2)
            shape = np.array(wanted)
        else:
            spacing = np.linalg.norm(affine[:3, :3], axis=0)
            size = np.array(wanted) if name == "resize" else np.maximum(1, np.round(shape * spacing / wanted))
            factor = shape / size if name == "resize" else np.array(wanted) / spacing
            affine = _placed(affine, (shape - 1) / 2, factor, (size - 1) / 2)
            shape = size.astype(int)
    x, y, z = (int(n) for n in shape)
    return (x, y, z), affine


def regrid(
    image: Volume, labels: Sequence[Volume | None], transform: dict, fill: float = AIR
) -> tuple[Volume, list[Volume | None]]:
    """Image (smoothed against aliasing, then linear) and label maps (nearest) on the grid of ``transform``.

    ``fill`` is the value outside of the image. With ``"foreground": "cube"`` the cube around all voxels above the
    image's minimum comes first.
    """
    if "foreground" in transform:
        image = foreground_cube(image, transform["foreground"], fill)
        transform = {name: value for name, value in transform.items() if name != "foreground"}
    shape, affine = target_grid(image, transform)
    factor = np.linalg.norm(affine[:3, :3], axis=0) / image.spacing
    sigma = 0.4 * np.sqrt(np.maximum(factor**2 - 1, 0))  # the rule of the stage 'encode'
    smooth = image.with_array(ndimage.gaussian_filter(image.array, sigma)) if sigma.any() else image
    moved = [None if volume is None else resample_labels(volume, shape, affine) for volume in labels]
    return resample_image(smooth, shape, affine, fill), moved


def foreground_cube(image: Volume, shape: str, fill: float) -> Volume:
    """The cube, in voxels of the largest side, around all voxels above the image's minimum.

    Raises InputError for another ``shape`` than ``cube``, for an image without foreground, and for one that is
    foreground nearly everywhere: its background has been left as it is.
    """
    if shape != "cube":
        raise InputError(f"There is no foreground '{shape}'; use cube.")
    foreground = image.array > image.array.min()
    inside = np.argwhere(foreground)
    if not len(inside):
        raise InputError("The image has no foreground: every voxel is the same.")
    if 1 - foreground.mean() < LEAST_BACKGROUND:
        raise InputError(
            "Its background is not one value, so that the foreground cannot be told; use the skull-stripped images."
        )
    low, high = inside.min(0), inside.max(0)
    side = int((high - low).max()) + 1
    affine = _placed(image.affine, (low + high) / 2, np.ones(3), np.full(3, (side - 1) / 2))
    return resample_image(image, [side] * 3, affine, fill)


def _placed(affine: np.ndarray, center: np.ndarray, factor: np.ndarray, new_center: np.ndarray) -> np.ndarray:
    """The affine with axes longer by ``factor``, index ``new_center`` where ``center`` was."""
    result = affine.copy()
    result[:3, :3] = affine[:3, :3] * factor
    result[:3, 3] += affine[:3, :3] @ center - result[:3, :3] @ new_center
    return result
