"""The decoder's unit range → Hounsfield units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from SynthCTLib.errors import ModelError


def unit_to_hu(unit: np.ndarray, intensity: Mapping[str, Any], mask: np.ndarray) -> np.ndarray:
    """Clip to [0, 1], map linearly to HU and clear what lies outside the body.

    Args:
        unit: (X, Y, Z) float, as decoded.
        intensity: the card's section of that name: ``hu`` (HU at 0 and at 1) and ``background``.
        mask: (X, Y, Z) labels; voxels that are 0 become ``background``, as in the reference.

    Returns:
        (X, Y, Z) int16. Works slab by slab, so that only the result is allocated in full.

    Raises ModelError if the decoder gave values that are not numbers.
    """
    if unit.shape != mask.shape:
        raise ValueError(f"image {unit.shape} and mask {mask.shape} differ in shape")
    low, high = intensity["hu"]
    background = intensity["background"]
    result = np.empty(unit.shape, np.int16)
    for slab, labels, target in zip(unit, mask, result, strict=True):
        if not np.isfinite(slab).all():
            raise ModelError(
                "The model gave values that are not numbers; check its files with 'synthct models verify', or try "
                "another --device, which may compute with another precision."
            )
        hu = np.rint(np.clip(slab, 0.0, 1.0) * (high - low) + low)
        target[...] = np.where(labels == 0, background, hu)
    return result
