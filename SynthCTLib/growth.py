"""Make an organ larger or smaller by some millimeters, without touching its neighbors or leaving the body.

NumPy and SciPy only, since it runs in 3D Slicer's own process. Arrays are (X, Y, Z) unsigned bytes, MAISI ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from SynthCTLib.crop import Box, label_boxes, widen
from SynthCTLib.errors import InputError
from SynthCTLib.labels import BACKGROUND, BODY, load_vocabulary
from SynthCTLib.lesion import default_hosts


@dataclass(frozen=True)
class GrowthEdit:
    """A label map with an organ of another size, the ``box`` outside of which it is as before, and volumes."""

    labels: np.ndarray
    box: Box
    before_ml: float
    after_ml: float


def grow_organ(
    labels: np.ndarray, spacing: Sequence[float], label: int, mm: float, *, also_into: Iterable[int] = ()
) -> GrowthEdit:
    """Move the surface of a structure outward (``mm`` > 0) or inward (``mm`` < 0); the input stays as it is.

    An organ grows into the body (200) only, and a voxel of body stays between it and the air; in a map without a body
    envelope it grows into unlabeled voxels. What it leaves becomes body likewise. A lesion grows into the organs that
    it may lie in, and what it leaves becomes the organ next to it.

    Args:
        labels: (X, Y, Z) uint8. spacing: mm. also_into: further ids that it may grow into.

    Raises:
        InputError: the structure is absent, would vanish, cannot grow anywhere, or is the body itself.
    """
    vocabulary = load_vocabulary()
    name = vocabulary.by_id(label).display_name
    boxes = label_boxes(labels)
    if label not in boxes or label == BODY:
        raise InputError(f"{name}: cannot be grown or shrunk; choose a structure that is in the label map.")
    around = BODY if BODY in boxes else BACKGROUND
    box = widen(boxes[label], labels.shape, spacing, abs(mm) + 2 * max(spacing))
    part = labels[box]
    if mm >= 0:
        room = set(default_hosts(label)) if vocabulary.by_id(label).lesion else {around}
        changed = _grown(part, label, spacing, mm, room | set(also_into))
    else:
        changed = _shrunk(part, label, spacing, -mm, around)
    if not (changed == label).any():
        raise InputError(f"{name} would vanish when shrunk by {-mm:g} mm; choose less.")
    if np.array_equal(changed, part):
        raise InputError(
            f"{name} stays as it is with {mm:g} mm: that is less than a voxel, or other structures are all around it; "
            "choose more, or allow it to grow into a neighbor."
        )
    result = labels.copy(order="K")
    result[box] = changed
    milliliters = float(np.prod(spacing)) / 1000
    before, after = (int(np.count_nonzero(one == label)) * milliliters for one in (part, changed))
    return GrowthEdit(result, box, before, after)


def _grown(part: np.ndarray, label: int, spacing: Sequence[float], mm: float, room_ids: set[int]) -> np.ndarray:
    organ = part == label
    room = np.isin(part, list(room_ids))
    if BODY in room_ids:
        # A voxel of body stays between organ and air, else the organ would lie bare.
        room &= ~ndimage.binary_dilation(part == BACKGROUND, np.ones((3, 3, 3)))
    reached = ndimage.distance_transform_edt(~organ, sampling=spacing) <= mm
    # Only what hangs together with the organ: it does not jump over a neighbor.
    pieces, _ = ndimage.label(organ | (room & reached))
    touching = np.unique(pieces[organ])
    grown = np.isin(pieces, touching) & ~organ
    changed = part.copy(order="K")
    changed[grown] = label
    return changed


def _shrunk(part: np.ndarray, label: int, spacing: Sequence[float], mm: float, around: int) -> np.ndarray:
    organ = part == label
    # Beyond the ends of the array the organ goes on: a cut plane is no surface.
    padded = np.pad(organ, 1, mode="edge")
    lost = organ & (ndimage.distance_transform_edt(padded, sampling=spacing)[1:-1, 1:-1, 1:-1] <= mm)
    changed = part.copy(order="K")
    no_organ = organ | (part == BACKGROUND)
    if not load_vocabulary().by_id(label).lesion or no_organ.all():
        changed[lost] = around
        return changed
    nearest = ndimage.distance_transform_edt(no_organ, sampling=spacing, return_distances=False, return_indices=True)
    changed[lost] = part[tuple(axis[lost] for axis in nearest)]
    return changed
