"""The outline of the body as a support function: for each slice and direction, how far out the skin lies.

The trunk is nearly convex in a transverse slice (in two real CTs its hull has a Dice of 0.99 with it), so a slice is
described by the positions of its tangents in ``DIRECTIONS``. Each structure proposes tangents: its own, moved
outward by its typical depth under the skin. The outermost proposal of a structure near the skin wins. Directions and
slices without one take over the slices around them, and only where these are far the typical depth of inner organs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from SynthCTLib.skin_depth import NEAR, SKIN_DEPTHS, SURE, SkinDepth, label_roles

_ANGLES = np.deg2rad(np.arange(0, 360, 5, dtype=np.float32))
DIRECTIONS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
# Share of the depths toward front, side and back in each direction.
_SHARES = np.stack([np.maximum(np.sin(_ANGLES), 0) ** 2, np.cos(_ANGLES) ** 2, np.maximum(-np.sin(_ANGLES), 0) ** 2])

OUTERMOST_BIAS = 3.0
"""mm. The largest of several uncertain proposals lies outside the truth on average."""
MIRROR_PENALTY = 20.0
"""mm by which a proposal loses when it comes from the other side of the body."""
DEEP_WEIGHT = 0.02
"""Weight of the proposals of inner organs beside those of structures near the skin."""
AXIAL_RANGE = 14.0
"""mm along the body axis over which the influence of a slice falls to 1/e."""
AXIAL_SLOPE = 0.7
"""mm per mm: the skin over the trunk does not fall off faster than this along the body axis."""
AXIAL_CLOSING = 100.0
"""mm: shorter dents along the body axis (the flank between ribs and hip, for example) are filled."""
ANGULAR_SIGMA = 5.0
"""Degrees over which corners are rounded."""
SIDE_OFFSET = 75.0
"""mm between the middle of the body and the center of a left or right organ, used when nothing central is labeled."""


@dataclass(frozen=True)
class Outline:
    """``tangents`` (Z, directions) in mm from the grid origin; ``bounded``: a structure lies right under it."""

    tangents: np.ndarray
    bounded: np.ndarray


def trunk_outline(labels: np.ndarray, spacing: tuple[float, float, float]) -> Outline | None:
    """The outline of head, neck and trunk around ``labels`` (X, Y, Z; RAS); None if no label tells anything."""
    first, last = _row_ends(label_roles().depth_class[labels])
    present = np.flatnonzero((last >= 0).any(axis=(1, 2))).tolist()
    supports = {index: _support(first[index], last[index], spacing) for index in present}
    if not supports:
        return None
    near, deep, bounded = _proposals(supports, middle_plane(labels, spacing[0]), spacing[2])
    weight = np.isfinite(near) + DEEP_WEIGHT * np.isfinite(deep)
    known_near, known_deep = np.nan_to_num(near, neginf=0.0), np.nan_to_num(deep, nan=0.0)
    total = np.isfinite(near) * known_near + DEEP_WEIGHT * np.isfinite(deep) * known_deep
    tangents = _spread(total, weight, spacing[2])
    tangents = _close_dents(tangents, spacing[2])
    tangents = np.maximum(tangents, _ellipse(tangents))
    return Outline(_smooth_angles(tangents) - OUTERMOST_BIAS, bounded)


def inside(outline: np.ndarray, shape: tuple[int, int], spacing: tuple[float, float]) -> np.ndarray:
    """Distance in mm from each point of the slices to the nearest tangent, positive inside; float32 (X, Y, Z)."""
    x, y = (np.arange(count, dtype=np.float32) * step for count, step in zip(shape, spacing, strict=True))
    result = np.full((len(x), len(y), len(outline)), np.inf, np.float32)
    for direction, (cosine, sine) in enumerate(DIRECTIONS):
        reach = x[:, None] * cosine + y[None, :] * sine
        np.minimum(result, outline[:, direction].astype(np.float32) - reach[:, :, None], out=result)
    return result


def middle_plane(labels: np.ndarray, spacing_x: float) -> float:
    """x in mm of the plane between the left and the right half of the body."""
    roles = label_roles()
    counts = np.stack([np.bincount(plane.ravel(), minlength=256) for plane in labels]).astype(float)
    x = np.arange(len(counts)) * spacing_x

    def center(flags: np.ndarray) -> float | None:
        share = counts[:, flags].sum(axis=1)
        return float((share @ x) / share.sum()) if share.any() else None

    central, left, right = center(roles.central), center(roles.left), center(roles.right)
    if central is not None:
        return central
    if left is not None and right is not None:
        return (left + right) / 2
    if left is not None:
        return left + SIDE_OFFSET
    if right is not None:
        return right - SIDE_OFFSET
    return float(center(roles.depth_class >= 0) or 0.0)


def _row_ends(classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last x of each depth class in each row along x: (classes, Y, Z) each, last −1 where it is not."""
    shape = (len(SKIN_DEPTHS), *classes.shape[1:])
    x, y, z = np.nonzero(classes >= 0)
    row = np.ravel_multi_index((classes[x, y, z], y, z), shape)
    first, last = np.full(shape, len(classes)), np.full(shape, -1)
    np.minimum.at(first.reshape(-1), row, x)
    np.maximum.at(last.reshape(-1), row, x)
    return first, last


def _support(first: np.ndarray, last: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Support function in each slice of what has these ends: (Z, directions) in mm, NaN in slices without it.

    Only the first and last voxel of each row can touch a tangent.
    """
    rows = last >= 0
    first_mm, last_mm = first * np.float32(spacing[0]), last * np.float32(spacing[0])
    y = np.arange(rows.shape[0], dtype=np.float32)[:, None] * np.float32(spacing[1])
    support = np.full((rows.shape[1], len(DIRECTIONS)), np.nan, np.float32)
    used = rows.any(axis=0)
    for direction, (cosine, sine) in enumerate(DIRECTIONS):
        reach = np.where(rows, (last_mm if cosine >= 0 else first_mm) * cosine + y * sine, -np.inf)
        support[used, direction] = reach.max(axis=0)[used]
    return support


def _proposals(
    supports: dict[int, np.ndarray], middle: float, spacing_z: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outermost proposal of near structures (−inf: none), mean proposal of all (NaN: none), and where one is SURE."""
    shape = next(iter(supports.values())).shape
    near, bounded = np.full(shape, -np.inf), np.zeros(shape, bool)
    total, weight = np.zeros(shape), np.zeros(shape)
    mirror = (len(DIRECTIONS) // 2 - np.arange(len(DIRECTIONS))) % len(DIRECTIONS)
    shift = 2 * middle * DIRECTIONS[:, 0]
    for index, own in supports.items():
        if not SKIN_DEPTHS[index].steep:
            own = _limit_slope(own, spacing_z)
        mirrored = own[:, mirror] + shift
        depth = _near_depth(SKIN_DEPTHS[index])
        bounded |= np.isfinite(own) & (depth <= SURE)
        for proposal in (own + depth, mirrored + depth - MIRROR_PENALTY):
            np.fmax(near, proposal, out=near)
        typical = _depths(SKIN_DEPTHS[index]) @ _SHARES
        proposal = np.fmax(own, mirrored) + typical
        share = np.isfinite(proposal) / typical**2
        total += share * np.nan_to_num(proposal)
        weight += share
    with np.errstate(invalid="ignore"):
        return near, total / weight, bounded


def _depths(row: SkinDepth) -> np.ndarray:
    return np.array([row.front, row.side, row.back])


def _near_depth(row: SkinDepth) -> np.ndarray:
    """Depth in each direction, from those of front, side and back that are near; NaN where none of these is close."""
    depths = _depths(row)
    shares = _SHARES * (depths <= NEAR)[:, None]
    held = shares.sum(axis=0)
    return np.where(held > 0.45, depths @ shares / np.maximum(held, 1e-9), np.nan)


def _spread(total: np.ndarray, weight: np.ndarray, spacing_z: float) -> np.ndarray:
    """Weighted mean over the slices around; beyond the outermost slices with labels the outline goes on unchanged."""
    z = np.arange(len(total)) * spacing_z
    kernel = np.exp(-np.abs(z[:, None] - z[None, :]) / AXIAL_RANGE)
    return (kernel @ total) / (kernel @ weight)


def _limit_slope(support: np.ndarray, spacing_z: float) -> np.ndarray:
    """Raise each slice to what its neighbors ask for: the ends of an organ are thin, the body around them is not."""
    z = np.arange(len(support)) * spacing_z
    raised = support.copy()
    for k in np.flatnonzero(np.isfinite(support[:, 0])):
        np.fmax(raised, support[k] - AXIAL_SLOPE * np.abs(z - z[k])[:, None], out=raised)
    return np.where(np.isfinite(support), raised, np.nan)


def _ellipse(tangents: np.ndarray) -> np.ndarray:
    """Support function, slice by slice, of the ellipse that has the same extent to the sides, front and back."""
    right, front, left, back = (tangents[:, quarter * len(DIRECTIONS) // 4] for quarter in range(4))
    center = np.stack([right - left, front - back], axis=1) / 2
    radii = np.stack([right + left, front + back], axis=1) / 2
    return center @ DIRECTIONS.T + np.sqrt(radii**2 @ DIRECTIONS.T**2)


def _close_dents(tangents: np.ndarray, spacing_z: float) -> np.ndarray:
    half = max(1, int(AXIAL_CLOSING / spacing_z / 2))
    padded = np.pad(tangents, ((2 * half, 2 * half), (0, 0)), mode="edge")
    return ndimage.grey_closing(padded, (2 * half + 1, 1))[2 * half : -2 * half]


def _smooth_angles(tangents: np.ndarray) -> np.ndarray:
    step = 360 / len(DIRECTIONS)
    return ndimage.gaussian_filter1d(tangents, ANGULAR_SIGMA / step, axis=1, mode="wrap")
