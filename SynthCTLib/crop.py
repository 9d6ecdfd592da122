"""Boxes around the structures of a label map, so that an edit looks at what it changes and not at everything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

Box = tuple[slice, slice, slice]


def label_boxes(labels: np.ndarray) -> dict[int, Box]:
    """The smallest box around each label of a map (X, Y, Z) of unsigned bytes; found in one pass."""
    return {number: box for number, box in enumerate(ndimage.find_objects(labels), start=1) if box is not None}


def widen(box: Box, shape: Sequence[int], spacing: Sequence[float], margin: float) -> Box:
    """The box, ``margin`` mm wider on each side, as far as an array of this ``shape`` goes."""
    reach = [int(np.ceil(margin / step)) for step in spacing]
    x, y, z = (slice(max(0, s.start - r), min(n, s.stop + r)) for s, r, n in zip(box, reach, shape, strict=True))
    return x, y, z


def corner(box: Box) -> np.ndarray:
    """First index of the box on each axis: (3,) int."""
    return np.array([part.start for part in box])
