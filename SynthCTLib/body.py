"""The body envelope: label 200 for every voxel inside the skin that has no other label.

From a CT it is the tissue connected to the body, with its holes filled. From a label map alone it is estimated
(:mod:`SynthCTLib.body_outline`) on a coarse grid and brought back to the full one.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from SynthCTLib.anatomy import label_places
from SynthCTLib.body_outline import inside, middle_plane, trunk_outline
from SynthCTLib.errors import InputError
from SynthCTLib.findings import Finding
from SynthCTLib.geometry import interpolate_along
from SynthCTLib.labels import BODY
from SynthCTLib.skin_depth import label_roles
from SynthCTLib.slabs import blocks, count_ids
from SynthCTLib.volume import Volume

COARSE = 4.0
"""mm: the envelope is built at about this spacing."""
MARGIN = 5.0
"""mm of tissue that each label has around it at least."""
SCALP = 8.0
"""mm of tissue above skull or brain, where the body ends."""
ARM_REACH = 38.0
"""mm from the upper arm bone to the skin of an arm that is apart from the trunk."""
THIGH_RADIUS = 78.0
"""mm. The thigh is taken as round, with the bone in front of its center and toward the outside."""
THIGH_CENTER = (12.0, -15.0)
"""mm from the bone to the center of the thigh: toward the middle of the body, toward the front."""

LEG_START = 100.0
"""mm below the upper end of the thigh bone at which the thighs part."""

CT_TISSUE = -400.0
"""HU above which a voxel is tissue and not air."""
CT_COARSE = 2.5
CT_THIN = 6.0
"""mm: table tops, sheets and tubes thinner than twice this are taken off."""
CT_CORE = 15.0
"""mm: a piece belongs to the patient if some point in it lies this deep."""

CONFIDENT = 0.6
"""Share of the outline near labels below which the envelope is called a guess."""
CONFIDENCE_RANGE = 30.0
"""mm along the body axis over which a label near the skin is taken to bound the outline."""


def body_from_labels(labels: Volume) -> np.ndarray:
    """Estimate from a label map alone where the body is: bool (X, Y, Z), True inside the skin.

    ``labels``: MAISI ids, axes toward right, anterior, superior; any spacing. Label 200 is not used as evidence, but
    every labeled voxel is part of the result. Raises InputError if there is no label or the axes are not RAS.
    """
    coarse, factors = _coarse_labels(labels)
    if not (label_roles().depth_class[coarse.array] >= 0).any():
        raise InputError("The label map holds no organ to build the body from; check that it is not empty.")
    envelope = _upsample(_coarse_envelope(coarse), labels.shape, factors)
    return np.logical_or(envelope, labels.array, out=envelope)


def body_from_ct(hu: Volume) -> np.ndarray:
    """Where the body is in a CT (HU; axes RAS): bool (X, Y, Z), lungs and bowel gas included, couch and sheets not."""
    _check_axes(hu)
    tissue = hu.array > CT_TISSUE
    coarse, factors = _coarse(hu.with_array(tissue), CT_COARSE)
    body = _patient(coarse.array, coarse.spacing)
    filled = _fill_holes(body)
    near = ndimage.binary_dilation(filled, np.ones((3, 3, 3)))
    interior = ndimage.binary_erosion(filled, np.ones((3, 3, 1)), border_value=1)
    envelope = tissue & _repeat(near, hu.shape, factors)
    envelope |= _repeat(interior, hu.shape, factors)
    return envelope


def add_body(labels: Volume, ct: Volume | None = None) -> Volume:
    """The label map with 200 in every unlabeled voxel of the body: taken from ``ct`` (same grid) or else estimated.

    Raises InputError if the CT has another grid.
    """
    if ct is not None and (ct.shape != labels.shape or not np.allclose(ct.affine, labels.affine, atol=1e-2)):
        raise InputError("The CT and the segmentation have different grids; resample one to the other first.")
    envelope = body_from_labels(labels) if ct is None else body_from_ct(ct)
    filled = np.empty(labels.shape, labels.array.dtype)
    for target, ids, inside_skin in zip(filled, labels.array, envelope, strict=True):
        target[...] = np.where(inside_skin & (ids == 0), BODY, ids)
    return labels.with_array(filled)


def envelope_confidence(labels: Volume) -> float:
    """Share (0-1) of the estimated body outline that lies near a label: 1 = all around, in every slice."""
    coarse, _ = _coarse_labels(labels)
    outline = trunk_outline(_trunk_labels(coarse.array, coarse.spacing[2]), coarse.spacing)
    if outline is None:
        return 0.0
    reach = int(CONFIDENCE_RANGE / coarse.spacing[2])
    return float(ndimage.binary_dilation(outline.bounded, np.ones((2 * reach + 1, 1))).mean())


def body_finding(labels: Volume) -> Finding | None:
    """A warning when the labels are too few to tell where the skin is; None when they are enough."""
    confidence = envelope_confidence(labels)
    if confidence >= CONFIDENT:
        return None
    return Finding(
        "warning",
        "body-guess",
        f"Only {confidence:.0%} of the body outline has a label near it, so the body envelope is largely a guess.",
        "Add structures near the skin (ribs, muscles, hips, skull), crop the map to the labeled part, or give the CT.",
    )


def _check_axes(volume: Volume) -> None:
    if volume.array.ndim != 3 or volume.orientation != "RAS":
        raise InputError("The body envelope needs a 3D volume with axes toward right, anterior, superior (RAS).")


def _coarse(volume: Volume, step: float) -> tuple[Volume, tuple[int, int, int]]:
    """Every n-th voxel, so that the spacing comes near ``step``."""
    fx, fy, fz = (max(1, round(step / length)) for length in volume.spacing)
    array = volume.array[fx // 2 :: fx, fy // 2 :: fy, fz // 2 :: fz]
    if 0 in array.shape:
        return volume, (1, 1, 1)
    affine = volume.affine @ np.diag([fx, fy, fz, 1.0])
    affine[:3, 3] += volume.affine[:3, :3] @ np.array([fx // 2, fy // 2, fz // 2])
    return Volume(array, affine), (fx, fy, fz)


def _coarse_labels(labels: Volume) -> tuple[Volume, tuple[int, int, int]]:
    """The label map at about COARSE mm. A label that falls between the sampled voxels keeps its place."""
    _check_axes(labels)
    if labels.array.dtype != np.uint8:
        raise InputError("The body envelope needs labels as unsigned bytes (MAISI ids 0-255).")
    coarse, factors = _coarse(labels, COARSE)
    sampled = count_ids(coarse.array)
    array = coarse.array.copy()
    for lost, place in label_places(labels).items():
        if sampled[lost]:
            continue
        box = labels.array[tuple(slice(low, high + 1) for low, high in zip(place.low, place.high, strict=True))]
        voxels = [index + low for index, low in zip(np.nonzero(box == lost), place.low, strict=True)]
        array[tuple(np.minimum(v // f, n - 1) for v, f, n in zip(voxels, factors, array.shape, strict=True))] = lost
    return coarse.with_array(array), factors


def _coarse_envelope(labels: Volume) -> np.ndarray:
    """Depth in mm under the estimated skin, about 0 on it and negative outside: float32 on the coarse grid."""
    array, spacing = labels.array, labels.spacing
    labeled = label_roles().depth_class[array] >= 0
    depth = MARGIN - ndimage.distance_transform_edt(~labeled, sampling=spacing).astype(np.float32)
    outline = trunk_outline(_trunk_labels(array, spacing[2]), spacing)
    legs = _leg_slices(array, spacing[2])
    if outline is not None:
        trunk = inside(outline.tangents, array.shape[:2], spacing[:2])
        trunk[:, :, legs] = -np.inf
        trunk[:, :, _above_head(array, spacing[2])] = -np.inf
        np.maximum(depth, trunk, out=depth)
    _join_arms(depth, array, spacing)
    _join_thighs(depth, array, spacing, legs)
    return ndimage.gaussian_filter(np.clip(depth, -20, 20), [COARSE / length for length in spacing])


def _trunk_labels(array: np.ndarray, spacing_z: float) -> np.ndarray:
    """The labels that lie in the trunk: arms only at the shoulders, legs only where something else is beside them."""
    roles = label_roles()
    trunk = array.copy()
    away = ~roles.shoulder[array].any(axis=(0, 1))
    trunk[:, :, away] = np.where(roles.arm[array[:, :, away]], 0, array[:, :, away])
    trunk[:, :, _leg_slices(array, spacing_z)] = 0
    return trunk


def _leg_slices(array: np.ndarray, spacing_z: float) -> np.ndarray:
    """Slices (Z,) in which the thighs are apart: below all other labels and below the upper end of the thigh bone."""
    roles = label_roles()
    leg = np.flatnonzero(roles.leg[array].any(axis=(0, 1)))
    other = np.flatnonzero(((roles.depth_class[array] >= 0) & ~roles.leg[array] & ~roles.arm[array]).any(axis=(0, 1)))
    index = np.arange(array.shape[2])
    if not len(leg):
        return index < 0
    cut = leg[-1] == index[-1]
    top = len(index) if cut else leg[-1] - LEG_START / spacing_z
    return index < min(top, other[0] if len(other) else len(index))


def _above_head(array: np.ndarray, spacing_z: float) -> np.ndarray:
    head = np.flatnonzero(label_roles().head[array].any(axis=(0, 1)))
    top = head[-1] + SCALP / spacing_z if len(head) else np.inf
    return np.arange(array.shape[2]) > top


def _join_arms(depth: np.ndarray, array: np.ndarray, spacing: tuple[float, float, float]) -> None:
    arm = label_roles().arm[array]
    for k in np.flatnonzero(arm.any(axis=(0, 1))):
        distance = ndimage.distance_transform_edt(~arm[:, :, k], sampling=spacing[:2])
        np.maximum(depth[:, :, k], ARM_REACH - distance, out=depth[:, :, k], casting="same_kind")


def _join_thighs(depth: np.ndarray, array: np.ndarray, spacing: tuple[float, float, float], legs: np.ndarray) -> None:
    """A disk around each thigh bone; slices without one take the nearest slice that has it."""
    roles = label_roles()
    middle = middle_plane(array, spacing[0])
    x, y = (np.arange(count) * step for count, step in zip(array.shape, spacing[:2], strict=False))
    for side in (roles.left, roles.right):
        bone = (roles.leg & side)[array]
        shown = np.flatnonzero(bone.any(axis=(0, 1)))
        for k in np.flatnonzero(legs) if len(shown) else ():
            rows, columns = np.nonzero(bone[:, :, shown[np.argmin(np.abs(shown - k))]])
            center_x, center_y = rows.mean() * spacing[0], columns.mean() * spacing[1]
            center_x += np.sign(middle - center_x) * THIGH_CENTER[0]
            distance = np.hypot(x[:, None] - center_x, y[None, :] - center_y - THIGH_CENTER[1])
            np.maximum(depth[:, :, k], THIGH_RADIUS - distance, out=depth[:, :, k], casting="same_kind")


def _upsample(depth: np.ndarray, shape: tuple[int, int, int], factors: tuple[int, int, int]) -> np.ndarray:
    """Where the linearly interpolated coarse ``depth`` is positive on the full grid."""
    envelope = np.empty(shape, bool)
    x, y, z = ((np.arange(n) - f // 2) / f for n, f in zip(shape, factors, strict=True))
    columns = interpolate_along(depth, 2, z)
    for part in blocks(shape[0]):
        envelope[part] = interpolate_along(interpolate_along(columns, 0, x[part]), 1, y) > 0
    return envelope


def _repeat(coarse: np.ndarray, shape: tuple[int, int, int], factors: tuple[int, int, int]) -> np.ndarray:
    """Nearest coarse voxel for each voxel of the full grid."""
    for axis, (count, factor) in enumerate(zip(shape, factors, strict=True)):
        coarse = coarse.take(np.minimum(np.arange(count) // factor, coarse.shape[axis] - 1), axis)
    return coarse


def _patient(tissue: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """The pieces of ``tissue`` that are thick enough to be the patient, without thin things that touch them."""
    opened = _open_slices(tissue, spacing)
    pieces, count = ndimage.label(opened)
    if count == 0:
        return opened
    thickness = ndimage.distance_transform_edt(opened, sampling=spacing)
    thick = np.zeros(count + 1, bool)
    thick[pieces[thickness > CT_CORE]] = True
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    keep = thick & (sizes > sizes.max() / 50)
    keep[sizes.argmax()] = True
    keep[0] = False
    # An opening takes thin but real parts off as well (skin folds, ears); what hangs together with the rest comes back
    # as far as the opening reached.
    patient = keep[pieces]
    reach = ndimage.binary_dilation(patient, _disk(CT_THIN, spacing)) & tissue
    parts, count = ndimage.label(reach)
    touches = np.zeros(count + 1, bool)
    touches[parts[patient]] = True
    return touches[parts]


def _open_slices(tissue: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Opening in each transverse slice; tissue goes on beyond the grid."""
    disk = _disk(CT_THIN, spacing)
    width = max(disk.shape)
    padded = np.pad(tissue, ((width, width), (width, width), (0, 0)), mode="edge")
    return ndimage.binary_opening(padded, disk)[width:-width, width:-width]


def _disk(radius: float, spacing: tuple[float, float, float]) -> np.ndarray:
    nx, ny = (int(radius / length) for length in spacing[:2])
    x, y = np.ogrid[-nx : nx + 1, -ny : ny + 1]
    return ((x * spacing[0]) ** 2 + (y * spacing[1]) ** 2 <= radius**2)[:, :, None]


def _fill_holes(body: np.ndarray) -> np.ndarray:
    """Holes filled in each slice of the three planes: lungs are open at the ends of the grid in some of them."""
    filled = body.copy()
    for axis in range(3):
        for plane in np.moveaxis(filled, axis, 0):
            plane[:] = ndimage.binary_fill_holes(plane)
    return filled
