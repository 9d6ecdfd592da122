"""The networks of HA-GAN (Sun et al., Hierarchical Amortized GAN for 3D High Resolution Medical Image Synthesis, IEEE
JBHI 2022, arXiv 2008.01910, section III), for volumes whose sides are multiples of 16.

A common block turns a code into features on a grid four times coarser than the volume. One head makes a coarse volume
of them, the other a fine one of a few of their slices at a time, so that training needs the memory of a slab only.
Slabs are axial here: cut along the last axis.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

DOWN = 4
"""Voxels of the volume along a side of one of the common features."""

COARSEST = 16
"""Voxels of the volume along a side of one of the coarsest features."""

GROUPS = 8


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(inputs, outputs, 3, padding=1), nn.GroupNorm(GROUPS, outputs), nn.ReLU())


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(inputs, outputs, 3, stride=2, padding=1), nn.GroupNorm(GROUPS, outputs), nn.ReLU())


def _larger() -> nn.Upsample:
    return nn.Upsample(scale_factor=2, mode="nearest")


class Generator(nn.Module):
    """Code (n, code) → features → coarse volume and slabs of the fine one, all in −1…1."""

    def __init__(self, shape: Sequence[int], code: int, width: int) -> None:
        """``width``: channels of the coarsest features; the common ones have a quarter of it."""
        super().__init__()
        self.coarsest = (width, *(side // COARSEST for side in shape))
        half, quarter = width // 2, width // 4
        self.code = nn.Linear(code, int(torch.Size(self.coarsest).numel()))
        self.common = nn.Sequential(
            _block(width, width), _larger(), _block(width, half), _larger(),
            _block(half, quarter), _block(quarter, quarter),
        )  # fmt: skip
        self.low = nn.Sequential(
            _block(quarter, quarter // 2), _block(quarter // 2, GROUPS), nn.Conv3d(GROUPS, 1, 3, padding=1), nn.Tanh()
        )
        self.high = nn.Sequential(
            _larger(), _block(quarter, quarter // 2), _larger(), nn.Conv3d(quarter // 2, 1, 3, padding=1), nn.Tanh()
        )

    def features(self, code: torch.Tensor) -> torch.Tensor:
        """The common features (n, width / 4, X/4, Y/4, Z/4)."""
        return self.common(self.code(code).view(-1, *self.coarsest))


class Encoder(nn.Module):
    """Slab (n, 1, X, Y, z) → the common features that it shows (n, width / 4, X/4, Y/4, z/4)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        quarter = width // 4
        self.layers = nn.Sequential(_halving(1, quarter // 2), _halving(quarter // 2, quarter))

    def forward(self, slab: torch.Tensor) -> torch.Tensor:
        """Features."""
        return self.layers(slab)


class CodeEncoder(nn.Module):
    """Common features of a whole volume → code (n, code)."""

    def __init__(self, shape: Sequence[int], code: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_halving(width // 4, width // 2), _halving(width // 2, width), nn.Flatten())
        self.code = nn.Linear(width * int(torch.Size(side // COARSEST for side in shape).numel()), code)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Codes."""
        return self.code(self.layers(features))


class Discriminator(nn.Module):
    """(n, 1, X, Y, Z) and numbers (n, k) that go with it → logit (n, 1); convolutions have a spectral norm."""

    def __init__(self, shape: Sequence[int], levels: int, width: int, extra: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        sides, inputs = list(shape), 1
        for level in range(levels):
            outputs = width * 2**level
            layers += [spectral_norm(nn.Conv3d(inputs, outputs, 3, stride=2, padding=1)), nn.LeakyReLU(0.2)]
            sides, inputs = [(side + 1) // 2 for side in sides], outputs
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.last = spectral_norm(nn.Linear(inputs * int(torch.Size(sides).numel()) + extra, 1))

    def forward(self, volume: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Above 0: real."""
        return self.last(torch.cat([self.layers(volume), numbers], 1))


def coarse(volume: torch.Tensor) -> torch.Tensor:
    """What the coarse head should make of a volume: averages of 4³ voxels."""
    return F.avg_pool3d(volume, DOWN)
