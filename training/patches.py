"""Random intensity patches for the autoencoder, balanced over collections, not over volumes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from SynthCTLib.errors import InputError
from training.augment import Augmentation
from training.intensities import Image, open_image
from training.prepare import read_cases

TISSUE_HU, TISSUE_SHARE = -300, 0.25
"""A patch of CT is drawn again, up to three times, unless that share of it is above that: air alone teaches nothing."""


class PatchSampler:
    """Draws batches (N, 1, P, P, P) in the unit range from the prepared cases of one split."""

    def __init__(
        self, prepared: Path, split: str, weights: Mapping[str, float], augment: Mapping[str, Any] | None = None
    ) -> None:
        """``weights``: share of each group, or of ``other``; ``augment``: as in the config, None for zoom and flips.

        Raises InputError if the split has no cases.
        """
        cases = read_cases(prepared, split)
        if not cases:
            raise InputError(f"No case in {prepared} is of the split '{split}': prepare some, or change 'split'.")
        self.images = [open_image(prepared, meta) for meta in cases]
        self.augmentation = Augmentation(augment) if augment else None
        groups = [c["group"] for c in cases]
        share = np.array([weights.get(g, weights.get("other", 1.0)) for g in groups], float)
        kinds = [g if g in weights else "other" for g in groups]
        counts = np.array([kinds.count(k) for k in kinds], float)
        if not share.any():
            raise InputError(f"'sampling' of the config gives no weight to any case of the split '{split}'.")
        self.probability = share / counts / (share / counts).sum()

    def batch(self, size: int, patch: int, rng: np.random.Generator) -> torch.Tensor:
        """One batch of augmented patches; ``rng`` alone decides which."""
        return torch.stack([self._one(patch, rng) for _ in range(size)])

    def _one(self, patch: int, rng: np.random.Generator) -> torch.Tensor:
        image = self.images[rng.choice(len(self.images), p=self.probability)]
        if self.augmentation is not None:
            cube = _cut(image, patch, self.augmentation.margin(patch), rng)
            return self.augmentation(cube, patch, rng)
        cube = _cut(image, max(8, round(patch * rng.uniform(0.75, 1.5))), 0, rng)
        return _flipped(_resized(cube, patch), rng)


def _cut(image: Image, side: int, margin: int, rng: np.random.Generator) -> torch.Tensor:
    """A random cube (1, S, S, S) with a margin around, in the unit range; the lowest value lies outside the image."""
    shape = image.array.shape
    for _ in range(4):
        start = [int(rng.integers(0, max(n - side, 0) + 1)) for n in shape]
        crop = image.array[tuple(slice(s, s + side) for s in start)]
        if not image.is_ct or (crop > TISSUE_HU).mean() > TISSUE_SHARE:
            break
    wanted = [(s - margin, s + side + margin) for s in start]
    crop = image.array[tuple(slice(max(a, 0), b) for a, b in wanted)]
    pads = [(max(-a, 0), max(b - n, 0)) for (a, b), n in zip(wanted, shape, strict=True)]
    return image.unit(np.pad(crop, pads, constant_values=image.low))[None]


def _resized(cube: torch.Tensor, side: int) -> torch.Tensor:
    if cube.shape[-1] == side:
        return cube
    return F.interpolate(cube[None], size=(side,) * 3, mode="trilinear", align_corners=False)[0]


def _flipped(cube: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    axes = [axis + 1 for axis in range(3) if rng.random() < 0.5]
    return cube.flip(axes) if axes else cube
