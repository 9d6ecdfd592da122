"""Random changes of image patches: MAISI's kinds (arXiv 2409.11169, section 4.1).

Input and target of the autoencoder are the same changed patch, so intensity changes widen the range of values that it
has to carry through unchanged; they do not blur what a HU means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms import Affine


class Augmentation:
    """Zoom and rotation about the patch's center, flips, quarter turns, and a factor and an offset of the values."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """``settings``: ``augment`` of the config. Zoom above 1 enlarges."""
        self.settings = settings

    def margin(self, patch: int) -> int:
        """Voxels around a patch that the smallest zoom and the largest rotation bring into it, on each side."""
        angle = self.settings["rotation"]
        wider = min(math.sqrt(3), math.cos(angle) + 2 * math.sin(angle))
        return math.ceil(patch * (wider / min(1.0, self.settings["zoom"][0]) - 1) / 2) + 1

    def __call__(self, cube: torch.Tensor, patch: int, rng: np.random.Generator) -> torch.Tensor:
        """(1, S, S, S) in the unit range, a patch with its margins → (1, P, P, P), changed."""
        s = self.settings
        zoomed, turned, scaled, shifted, *quarters = rng.random(7) < s["probability"]
        zoom = rng.uniform(*s["zoom"]) if zoomed else 1.0
        angles = rng.uniform(-s["rotation"], s["rotation"], 3) if turned else np.zeros(3)
        x = _resample(cube, zoom, angles, patch) if zoomed or turned else _middle(cube, patch)
        x = x.flip([axis + 1 for axis in range(3) if rng.random() < 0.5])
        for axes, quarter in zip(((1, 2), (2, 3), (1, 3)), quarters, strict=True):
            x = torch.rot90(x, int(rng.integers(1, 4)), axes) if quarter else x
        factor = 1 + rng.uniform(-s["intensity_scale"], s["intensity_scale"]) * scaled
        offset = rng.uniform(-s["intensity_shift"], s["intensity_shift"]) * shifted
        return x * factor + offset


def _resample(cube: torch.Tensor, zoom: float, angles: np.ndarray, side: int) -> torch.Tensor:
    """The middle ``side`` voxels of each axis after rotation (radians) and zoom, linear."""
    change = Affine(
        rotate_params=angles.tolist(),
        scale_params=[1 / zoom] * 3,
        spatial_size=(side,) * 3,
        mode="bilinear",
        padding_mode="border",
        image_only=True,
    )
    return torch.as_tensor(change(cube)).as_subclass(torch.Tensor)


def _middle(cube: torch.Tensor, side: int) -> torch.Tensor:
    start = (cube.shape[-1] - side) // 2
    inside = slice(start, start + side)
    return cube[:, inside, inside, inside]
