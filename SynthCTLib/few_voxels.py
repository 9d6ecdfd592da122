"""Convolution of a wide layer on few voxels as one matrix product: each row holds the 27 neighbors of a voxel.

Deep in the denoiser a layer has hundreds of channels and a few dozen voxels. There oneDNN's convolution takes two to
three times what this product takes. Its matrix is the kernel as it lies in memory, so nothing is transformed or held
twice; only the small image is copied 27 times.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeGuard

import torch
import torch.nn.functional as F
from torch import nn

from SynthCTLib.convolution import has_a_voxel_of_zeros_around

MOST_VOXELS = 256
"""Voxels up to which the product is known to be faster in bfloat16: ``python -m benchmarks.few_voxels``.

At 2048 it is slower; between the two it was not measured. In float32, whose weights are not stored channels last, there
is nothing to gain.
"""

FEWEST_CHANNELS = 128


class FewVoxelsConv3d(nn.Conv3d):
    """The same layer as the :class:`torch.nn.Conv3d` that it was; in bfloat16 on few voxels computed as one product."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, x, y, z) → (N, C', x, y, z)."""
        if x.dtype is torch.bfloat16 and len(x) * x[0, 0].numel() <= MOST_VOXELS:
            return as_product(x, self.weight, self.bias)
        return super().forward(x)


def as_product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Convolution with one voxel of zeros around the image: (N, C, x, y, z) → (N, C', x, y, z), channels last.

    ``weight``: (C', C, 3, 3, 3); copied unless it is stored channels last.
    """
    number, channels, *grid = x.shape
    voxels = x.permute(0, 2, 3, 4, 1).reshape(-1, channels)
    neighbors = _neighbors(number, *grid).to(x.device)
    rows = F.pad(voxels, (0, 0, 1, 0)).index_select(0, neighbors).reshape(len(voxels), -1)
    result = F.linear(rows, weight.permute(0, 2, 3, 4, 1).reshape(len(weight), -1), bias)
    return result.reshape(number, *grid, -1).permute(0, 4, 1, 2, 3)


def suits(layer: nn.Module) -> TypeGuard[nn.Conv3d]:
    """Whether ``layer`` is a convolution that :class:`FewVoxelsConv3d` can stand in for and gains from."""
    return (
        type(layer) is nn.Conv3d
        and layer.kernel_size == (3, 3, 3)
        and has_a_voxel_of_zeros_around(layer)
        and layer.in_channels >= FEWEST_CHANNELS
    )


@lru_cache(maxsize=16)
def _neighbors(number: int, *grid: int) -> torch.Tensor:
    """For each voxel of each image and each of its 27 neighbors, 1 + its index, or 0 outside; one after the other."""
    # An inference tensor in the cache could not be used for gradients later.
    with torch.inference_mode(mode=False):
        index = 1 + torch.arange(number * grid[0] * grid[1] * grid[2]).reshape(number, *grid)
        around = F.pad(index, (1,) * 6)
        windows = around.unfold(1, 3, 1).unfold(2, 3, 1).unfold(3, 3, 1)
        return windows.reshape(-1).contiguous()
