"""Is this a CT in HU, whole and the right way round? Each doubt is a finding with a sentence.

Errors leave a case out, warnings go with it into ``cases.json``. Only what can be told from values and grid is checked:
without labels nobody can tell left from right.
"""

from __future__ import annotations

import numpy as np

from SynthCTLib.anatomy import label_places, relations
from SynthCTLib.errors import InputError
from SynthCTLib.findings import Finding
from SynthCTLib.geometry import nearest_rotation
from SynthCTLib.volume import Volume

LIMITS = {
    "min_slices": 16,
    "max_plane_spacing": 6.0,
    "max_slice_spacing": 10.0,
    "min_extent": 60.0,
    "max_oblique": 25.0,
}
"""Slices; mm, mm, mm; degrees. The config's ``checks`` changes them."""

_PADDING = -1100.0
"""HU below which nothing is: scanners fill the corners outside their circle with -2000, -2048 or -3024."""
_SAMPLES = 2_000_000


def limits(changes: dict[str, float]) -> dict[str, float]:
    """:data:`LIMITS` with the config's values. Raises InputError for an unknown one."""
    unknown = sorted(set(changes) - set(LIMITS))
    if unknown:
        raise InputError(f"There is no check '{unknown[0]}'; known: {', '.join(LIMITS)}.")
    return {**LIMITS, **changes}


def check_values(hu: np.ndarray) -> list[Finding]:
    """Whether the values of an image (X, Y, Z) can be Hounsfield units of a patient."""
    constant = check_spread(hu)
    if constant:
        return constant
    low, high = float(hu.min()), float(hu.max())
    step = max(1, round((hu.size / _SAMPLES) ** (1 / 3)))
    sample = hu[::step, ::step, ::step].ravel()
    foreign = _foreign_scale(sample, low, high)
    if foreign is not None:
        return [foreign]
    return [*_padding(hu, low), *_tissue(sample)]


def check_spread(array: np.ndarray) -> list[Finding]:
    """An error for an image (X, Y, Z) of one value: all that can be said of MR, which has no unit."""
    low, high = float(array.min()), float(array.max())
    if low < high:
        return []
    return [_error("constant", f"Every voxel is {low:g}.", "Export the image again.")]


def check_grid(image: Volume, limit: dict[str, float]) -> list[Finding]:
    """Slices, spacing, field of view and direction of a volume with axes RAS."""
    found = []
    x, y, z = image.spacing
    extent = np.array(image.shape) * image.spacing
    if image.shape[2] < limit["min_slices"]:
        found.append(_error("few-slices", f"It has {image.shape[2]} slices, fewer than {limit['min_slices']:g}."))
    if max(x, y) > limit["max_plane_spacing"] or z > limit["max_slice_spacing"]:
        found.append(_error("coarse", f"Its voxels of {x:.1f} × {y:.1f} × {z:.1f} mm are too coarse."))
    if min(x, y, z) < 0.15:
        found.append(_error("spacing", f"Its spacing of {min(x, y, z):.3g} mm cannot be right.", "Correct the header."))
    if extent[:2].min() < limit["min_extent"]:
        found.append(_warning("narrow", f"It shows {extent[0]:.0f} × {extent[1]:.0f} mm of the body only."))
    if extent[:2].max() > 1000:
        found.append(_warning("wide", f"It is {extent[:2].max():.0f} mm wide.", "Check the spacing in its header."))
    angle = _oblique(image.affine)
    if angle > limit["max_oblique"]:
        found.append(_warning("oblique", f"Its axes are turned by {angle:.0f}° against the patient's."))
    return found


def check_labels(labels: Volume) -> list[Finding]:
    """A warning where organs lie on the wrong side or upside down; ``labels`` with axes RAS."""
    places = label_places(labels)
    found = []
    for kind, words in (("side", "mirrored (left and right swapped)"), ("height", "upside down")):
        known = [relation for relation in relations(places) if relation.kind == kind]
        wrong = sum(not relation.holds for relation in known)
        if known and wrong > len(known) / 2:
            text = f"{wrong} of {len(known)} pairs of labels say that it is {words}."
            found.append(_warning("orientation", text, "Look at it, and correct the orientation in its header."))
    return found


def _foreign_scale(sample: np.ndarray, low: float, high: float) -> Finding | None:
    """The error for values that are no HU: normalized, cut by a window, without rescale, 8 bit, MR."""
    if low >= -2 and high <= 2:
        return _error("normalized", f"Values from {low:g} to {high:g} are normalized, not HU.", "Give the original CT.")
    at_low, at_high = float((sample == low).mean()), float((sample == high).mean())
    if -950 < low < 0 and at_low > 0.02 and at_high > 1e-3:
        text = f"Values end at {low:g} and {high:g}, as after a display window."
        return _error("windowed", text, "Give the original CT.")
    if low > -200:
        if high > 1200 and ((sample > 900) & (sample < 1250)).mean() > 0.05 and low >= -50:
            text = "Nothing is below zero and tissue lies near 1024: these are stored values without the rescale."
            return _error("no-rescale", text, "Subtract 1024, or export again with rescale slope and intercept.")
        if low >= 0 and high <= 255:
            return _error(
                "eight-bit", f"Values from {low:g} to {high:g} are gray levels, not HU.", "Give the original CT."
            )
        text = f"Values from {low:g} to {high:g} have no air near -1000, as in MR or PET."
        return _error("not-ct", text, "Give CT images only.")
    return None


def _padding(hu: np.ndarray, low: float) -> list[Finding]:
    if low >= _PADDING:
        return []
    share = float((hu < _PADDING).mean())
    text = f"{share:.1%} of the voxels are below {_PADDING:g} HU (down to {low:g}): padding, taken as air."
    return [Finding("info", "padding", text)]


def _tissue(sample: np.ndarray) -> list[Finding]:
    share = float(((sample > -200) & (sample < 300)).mean())
    if share >= 0.01:
        return []
    text = f"Only {share:.1%} of the voxels are soft tissue (-200 to 300 HU): an empty image, or rescaled twice."
    return [_error("no-tissue", text, "Look at it.")]


def _oblique(affine: np.ndarray) -> float:
    """Largest angle in degrees between a voxel axis and the body axis nearest to it; axes RAS."""
    return float(np.degrees(np.arccos(np.clip(np.diag(nearest_rotation(affine)).min(), -1, 1))))


def _error(code: str, text: str, advice: str = "") -> Finding:
    return Finding("error", code, text, advice)


def _warning(code: str, text: str, advice: str = "") -> Finding:
    return Finding("warning", code, text, advice)
