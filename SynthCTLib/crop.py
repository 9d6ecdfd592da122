"""Boxes around the structures of a label map, so that an edit looks at what it changes and not at everything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SynthCTLib.slabs import id_profiles

Box = tuple[slice, slice, slice]


def label_boxes(labels: np.ndarray) -> dict[int, Box]:
    """The smallest box around each label of a map (X, Y, Z) of unsigned bytes, ids ascending; found in one pass.

    It counts runs in the order of the memory: find_objects of SciPy takes eight times as long where X is fastest.
    """
    profiles = [profile > 0 for profile in id_profiles(labels)]
    present = np.flatnonzero(profiles[0].any(axis=0))
    return {int(number): _span(profiles, int(number)) for number in present if number}


def widen(box: Box, shape: Sequence[int], spacing: Sequence[float], margin: float) -> Box:
    """The box, ``margin`` mm wider on each side, as far as an array of this ``shape`` goes."""
    reach = [int(np.ceil(margin / step)) for step in spacing]
    x, y, z = (slice(max(0, s.start - r), min(n, s.stop + r)) for s, r, n in zip(box, reach, shape, strict=True))
    return x, y, z


def _span(profiles: list[np.ndarray], number: int) -> Box:
    """From the first to the last plane that holds an id, on each axis; profiles: three (planes, 256) bool."""
    ends = [np.flatnonzero(profile[:, number])[[0, -1]] for profile in profiles]
    x, y, z = (slice(int(first), int(last) + 1) for first, last in ends)
    return x, y, z


def corner(box: Box) -> np.ndarray:
    """First index of the box on each axis: (3,) int."""
    return np.array([part.start for part in box])
