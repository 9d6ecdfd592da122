"""Slices of a DICOM series → one regular stack with its affine, or the reason why they are none."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from SynthCTLib.errors import InputError
from SynthCTLib.findings import Finding
from training.sources.dicom_header import Header

_SAME_PLACE = 0.01
"""mm: slices nearer than this lie at one position."""
_UNEVEN = 0.02
"""Share of the slice distance by which steps may differ; rounding in headers makes up to 1 %."""


@dataclass(frozen=True)
class Stack:
    """``files`` from one end of the body to the other; ``affine`` (4, 4): column, row, slice → RAS mm."""

    files: list[Path]
    affine: np.ndarray
    notes: list[Finding] = field(default_factory=list)


def stack(slices: list[Header]) -> Stack:
    """Order slices along their normal and prove that they are evenly spaced. Raises InputError with the reason."""
    _check_alike(slices)
    first = slices[0]
    normal = np.cross(first.directions[0], first.directions[1])
    along = np.array([header.position @ normal for header in slices])
    order = np.argsort(along, kind="stable")
    step = _step(along[order])
    ordered = [slices[index] for index in order]
    positions = np.array([header.position for header in ordered])
    affine = np.eye(4)
    affine[:3, 0] = ordered[0].directions[0] * ordered[0].spacing[1]
    affine[:3, 1] = ordered[0].directions[1] * ordered[0].spacing[0]
    affine[:3, 2] = (positions[-1] - positions[0]) / (len(ordered) - 1)
    affine[:3, 3] = positions[0]
    straight = positions[0] + np.arange(len(ordered))[:, None] * affine[:3, 2]
    drift = float(np.abs(positions - straight).max())
    if drift > max(0.1, _UNEVEN * step):
        raise InputError(f"Its slices do not lie on a line (off by {drift:.1f} mm): several scans are in one series.")
    return Stack([header.path for header in ordered], np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine, _notes(first))


def _check_alike(slices: list[Header]) -> None:
    first = slices[0]
    if any(header.frames > 1 for header in slices):
        raise InputError("It is an enhanced multi-frame CT; convert it to one file per slice or to NIfTI first.")
    if len(slices) < 2:
        raise InputError("It has one slice only; a volume needs more.")
    for header in slices:
        if not (np.isfinite(header.position).all() and np.isfinite(header.directions).all()):
            raise InputError(f"{header.path.name} does not say where its slice lies; export the series again.")
        if not np.isfinite(header.spacing).all() or header.spacing.min() <= 0:
            raise InputError(f"{header.path.name} has no pixel spacing; export the series again.")
        if header.size != first.size or not np.allclose(header.spacing, first.spacing, rtol=1e-3):
            raise InputError(
                "Its slices differ in size or pixel spacing: several scans are in one series; separate them."
            )
        if not np.allclose(header.directions, first.directions, atol=1e-3):
            raise InputError(
                "Its slices are turned against each other: several scans are in one series; separate them."
            )


def _step(along: np.ndarray) -> float:
    """mm between neighbors, ``along`` sorted. Raises InputError for repeated, missing and uneven slices."""
    steps = np.diff(along)
    if steps.min() < _SAME_PLACE:
        twice = int((steps < _SAME_PLACE).sum())
        raise InputError(f"{twice} slices lie where another one lies already (phases or copies); separate them.")
    usual = float(np.median(steps))
    wide = np.flatnonzero(steps > (1 + _UNEVEN) * usual)
    gaps = steps[wide] / usual
    missing = int(np.round(gaps - 1).sum())
    if len(wide) and np.abs(gaps - np.round(gaps)).max() < 5 * _UNEVEN and missing:
        place = ", ".join(f"{along[index]:.1f} mm" for index in wide[:3])
        raise InputError(f"{missing} slices are missing (gap behind {place}; usual distance {usual:.2f} mm).")
    if np.abs(steps - usual).max() > _UNEVEN * usual:
        raise InputError(f"The distance between slices varies from {steps.min():.2f} to {steps.max():.2f} mm.")
    return usual


def _notes(first: Header) -> list[Finding]:
    if first.rescaled or first.modality != "CT":
        return []
    text = "Its headers have no rescale intercept, so that stored values were taken as HU."
    return [Finding("warning", "no-rescale-tags", text)]
