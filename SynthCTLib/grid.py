"""The model's grid for a mask: sizes and spacings that the model card allows, around the labeled anatomy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from SynthCTLib.anatomy import label_places
from SynthCTLib.errors import InputError
from SynthCTLib.findings import Finding
from SynthCTLib.geometry import corners, nearest_rotation, shear
from SynthCTLib.labels import BODY
from SynthCTLib.regions import Region
from SynthCTLib.volume import Volume

if TYPE_CHECKING:
    from SynthCTLib.cards import ModelCard

# Room around the labels, in mm on each side: air where the body is labeled, else the body that is still to be built.
_AIR, _SOFT_TISSUE, _SKIN_ABOVE = 10.0, 40.0, 15.0
_SHEARED = 1e-3
AXES = ("left-right", "front-back", "head-foot")


@dataclass(frozen=True)
class Grid:
    """``shape`` (X, Y, Z) and ``affine`` (4, 4; voxel → RAS mm) of the model; ``kept``: the source's own."""

    shape: tuple[int, int, int]
    affine: np.ndarray
    kept: bool
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class AxisRule:
    """What a model card allows along one axis: ``sizes`` in voxels (ascending), spacing ``low`` to ``high`` in mm."""

    sizes: tuple[int, ...]
    low: float
    high: float

    def allows(self, size: int, spacing: float) -> bool:
        """Whether this size and spacing follow the rule (0.001 mm tolerance: files store spacings as float32)."""
        return size in self.sizes and self.low - 1e-3 <= spacing <= self.high + 1e-3


def axis_rules(grid: Mapping[str, Any]) -> tuple[AxisRule, AxisRule, AxisRule]:
    """The rules for X, Y and Z from the ``grid`` entry of a model card."""
    in_plane = AxisRule(_sizes(grid["xy"]), *map(float, grid["spacing_xy"]))
    along = AxisRule(_sizes(grid["z"]), *map(float, grid["spacing_z"]))
    return in_plane, in_plane, along


def plan_grid(
    source: Volume,
    card: ModelCard,
    region: Region,
    size: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
    body_points: np.ndarray | None = None,
) -> Grid:
    """Choose the grid on which the model makes the CT of ``source``.

    A source grid that follows the card's rules is kept. Else the grid has the source's axes, lies around the labels
    and has the card's default size and spacing for ``region`` where the anatomy fits; if not, first the spacing grows
    within its range, then the size, and then the spacing beyond its range, since anatomy is never cut off unasked.
    Along the body axis the grid ends with the labels, as a scan does.

    Args:
        source: label map (uint8 MAISI ids), axes RAS.
        size, spacing: the user's choice (X, Y, Z), which wins over defaults; the grid may then cut anatomy (a finding).
        body_points: (N, 3) RAS mm, outline of a body that is known but not labeled; the grid is wide enough for it.

    Raises:
        InputError: no voxel is labeled, or the wanted size is not allowed or the spacing is not positive.
    """
    rules = axis_rules(card.grid)
    square, least = bool(card.grid.get("square", True)), float(card.grid.get("fov_xy_min", 0))
    _check_wish(size, spacing, rules, square)
    places = label_places(source)
    if not places:
        raise InputError("The segmentation is empty: no voxel has a label; check that it was exported completely.")
    frame = nearest_rotation(source.affine)
    first = np.min([place.low for place in places.values()], axis=0)
    last = np.max([place.high for place in places.values()], axis=0)
    anatomy, view = _extent(corners(first, last, source.affine) @ frame), _view(source, frame)
    if size is None and spacing is None and _keeps(source, rules, square, least, anatomy):
        return Grid(source.shape, source.affine, True)
    needed = _room(anatomy, view, BODY in places, None if body_points is None else body_points @ frame)
    length = needed[1] - needed[0]
    length[:2] = np.maximum(length[:2].max() if square else length[:2], least)
    default = _default(card.grid["defaults"], region)
    sizes, steps = [], []
    for axis in range(3):
        wish_size = int(size[axis]) if size is not None else None
        wish_step = float(spacing[axis]) if spacing is not None else None
        plan = _plan_along if axis == 2 else _plan_in_plane
        count, step = plan(rules[axis], float(length[axis]), default[axis], wish_size, wish_step)
        sizes.append(count)
        steps.append(step)
    fov = np.array(sizes) * steps
    low = _place(needed, view, fov)
    affine = np.eye(4)
    affine[:3, :3] = frame * steps
    affine[:3, 3] = frame @ (low + 0.5 * np.array(steps))
    findings = _sheared(source.affine) + _cropped(anatomy, low, low + fov, steps)
    return Grid((sizes[0], sizes[1], sizes[2]), affine, False, findings)


def _sizes(rule: Mapping[str, Any]) -> tuple[int, ...]:
    if "choices" in rule:
        return tuple(sorted(int(choice) for choice in rule["choices"]))
    multiple = int(rule["multiple"])
    return tuple(range(math.ceil(rule["min"] / multiple) * multiple, int(rule["max"]) + 1, multiple))


def _check_wish(
    size: Sequence[int] | None, spacing: Sequence[float] | None, rules: Sequence[AxisRule], square: bool
) -> None:
    if size is not None:
        for axis in range(3):
            if int(size[axis]) not in rules[axis].sizes:
                allowed = ", ".join(map(str, rules[axis].sizes))
                raise InputError(
                    f"The size {size[axis]} ({AXES[axis]}) is not allowed by the model; choose among {allowed}."
                )
        if square and size[0] != size[1]:
            raise InputError(
                f"The model needs square slices, not {size[0]} × {size[1]}; make the first two sizes equal."
            )
    if spacing is not None:
        if not all(math.isfinite(step) and step > 0 for step in spacing):
            raise InputError(
                f"The spacing {' × '.join(map(str, spacing))} mm is impossible; give three positive numbers."
            )
        if square and abs(spacing[0] - spacing[1]) > 1e-3:
            raise InputError(
                f"The model needs square voxels in the slice, not {spacing[0]} × {spacing[1]} mm; make them equal."
            )


def _extent(points: np.ndarray) -> np.ndarray:
    return np.array([points.min(axis=0), points.max(axis=0)])


def _view(source: Volume, frame: np.ndarray) -> np.ndarray:
    return _extent(corners((0, 0, 0), np.array(source.shape) - 1, source.affine) @ frame)


def _keeps(source: Volume, rules: Sequence[AxisRule], square: bool, least: float, anatomy: np.ndarray) -> bool:
    """Whether the source's own grid can be used as it is."""
    steps = source.spacing
    if shear(source.affine) > _SHEARED or min(source.shape[a] * steps[a] for a in (0, 1)) < least - 1e-2:
        return False
    if square and (source.shape[0] != source.shape[1] or abs(steps[0] - steps[1]) > 1e-3):
        return False
    length = anatomy[1] - anatomy[0]
    if square:
        length[:2] = length[:2].max()
    return all(
        rule.allows(source.shape[axis], steps[axis])
        or _is_stretched(rule, source.shape[axis], steps[axis], length[axis])
        for axis, rule in enumerate(rules)
    )


def _is_stretched(rule: AxisRule, size: int, step: float, length: float) -> bool:
    """Whether the spacing exceeds its range because the anatomy fits in no other way (as planned before)."""
    return size == rule.sizes[-1] and step > rule.high and length > 0.75 * size * rule.high


def _room(anatomy: np.ndarray, view: np.ndarray, has_body: bool, body: np.ndarray | None) -> np.ndarray:
    """The space (2, 3) that the grid has to hold, in mm in the frame of the grid."""
    needed = anatomy.copy()
    if body is not None:
        needed[0, :2] = np.minimum(needed[0, :2], body[:, :2].min(axis=0))
        needed[1, :2] = np.maximum(needed[1, :2], body[:, :2].max(axis=0))
    margin = _AIR if has_body or body is not None else _SOFT_TISSUE
    needed[0, :2] -= margin
    needed[1, :2] += margin
    if not has_body:
        needed[0, 2] = max(needed[0, 2] - _SKIN_ABOVE, view[0, 2])
        needed[1, 2] = min(needed[1, 2] + _SKIN_ABOVE, view[1, 2])
    return needed


def _default(defaults: Mapping[str, Any], region: Region) -> list[tuple[int, float]]:
    entry = defaults.get(str(region), defaults["*"])
    return [(int(count), float(step)) for count, step in zip(entry["size"], entry["spacing"], strict=True)]


def _plan_in_plane(
    rule: AxisRule, needed: float, default: tuple[int, float], size: int | None, spacing: float | None
) -> tuple[int, float]:
    """Size and spacing across the body: the default field of view, or as much more as the anatomy needs."""
    if spacing is not None:
        return size or _smallest(rule, needed / spacing), spacing
    wanted = max(needed, default[0] * default[1])
    if size is not None:
        within = min(max(wanted / size, rule.low), rule.high)
        return size, _up(max(within, needed / size), rule)
    if needed <= default[0] * default[1]:
        return default
    for count in rule.sizes:
        if count >= default[0] and needed / count <= rule.high:
            return count, _up(max(needed / count, rule.low), rule)
    return rule.sizes[-1], _up(needed / rule.sizes[-1], rule)


def _plan_along(
    rule: AxisRule, needed: float, default: tuple[int, float], size: int | None, spacing: float | None
) -> tuple[int, float]:
    """Size and spacing along the body: ends with the anatomy, spacing as near the default as the sizes allow."""
    if spacing is not None:
        return size or _smallest(rule, needed / spacing), spacing
    if size is None:
        fitting = [count for count in rule.sizes if needed / count <= rule.high] or [rule.sizes[-1]]
        size = min(fitting, key=lambda count: abs(math.log(max(needed / count, rule.low) / default[1])))
    return size, _up(max(needed / size, rule.low), rule)


def _smallest(rule: AxisRule, voxels: float) -> int:
    return next((count for count in rule.sizes if count >= voxels - 1e-6), rule.sizes[-1])


def _up(spacing: float, rule: AxisRule) -> float:
    """Rounded up to 0.001 mm, so that reports are readable and the anatomy still fits."""
    rounded = math.ceil(spacing * 1000 - 1e-6) / 1000
    return rule.high if spacing <= rule.high < rounded else rounded


def _place(needed: np.ndarray, view: np.ndarray, fov: np.ndarray) -> np.ndarray:
    """Lower corner of the window: centered on the anatomy, then moved to stay over what the source shows.

    In the slice, a window larger than the source is centered on the source: the patient was centered there.
    """
    low = needed.mean(axis=0) - fov / 2
    for axis in range(3):
        if fov[axis] <= view[1, axis] - view[0, axis]:
            low[axis] = min(max(low[axis], view[0, axis]), view[1, axis] - fov[axis])
        elif axis < 2:
            middle = view[:, axis].mean() - fov[axis] / 2
            low[axis] = min(max(middle, needed[1, axis] - fov[axis]), needed[0, axis])
    return low


def _sheared(affine: np.ndarray) -> list[Finding]:
    if shear(affine) <= _SHEARED:
        return []
    text = "The axes of the segmentation are not at right angles (tilted gantry?); it was put onto a straight grid."
    return [Finding("warning", "sheared", text, "Positions are right; look at the edges of thin structures.")]


def _cropped(anatomy: np.ndarray, low: np.ndarray, high: np.ndarray, steps: Sequence[float]) -> list[Finding]:
    lost = np.maximum(low - anatomy[0], 0) + np.maximum(anatomy[1] - high, 0)
    axes = [axis for axis in range(3) if lost[axis] > 0.5 * steps[axis]]
    if not axes:
        return []
    text = " and ".join(f"{lost[axis]:.0f} mm {AXES[axis]}" for axis in axes)
    advice = "Choose a larger size or a coarser spacing, or leave both out."
    return [Finding("warning", "anatomy-cropped", f"The chosen grid cuts off {text} of the labeled anatomy.", advice)]
