"""Single bright voxels in made CTs, which the public code's models are known for ("white dots")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

LIMIT = 300.0
"""HU above the brightest of the 26 neighbors: more than noise, and a voxel of bone has bone beside it."""


def count_white_dots(hu: np.ndarray) -> int:
    """Voxels of ``hu`` (X, Y, Z) that exceed each of their neighbors, 26 inside the volume, by more than LIMIT HU."""
    around = np.ones((3, 3, 3), bool)
    around[1, 1, 1] = False
    brightest = ndimage.maximum_filter(hu.astype(np.float32), footprint=around, mode="mirror")
    return int((hu - brightest > LIMIT).sum())


def white_dots(volumes: Sequence[np.ndarray]) -> dict[str, Any]:
    """How many volumes have white dots, and how many they have."""
    counts = [count_white_dots(hu) for hu in volumes]
    return {
        "limit_hu": LIMIT,
        "volumes": len(counts),
        "volumes_with_dots": sum(count > 0 for count in counts),
        "dots": sum(counts),
        "most_in_a_volume": max(counts),
    }
