"""The factorized U-Net that predicts the noise of a latent (Medical Diffusion, "Diffusion model").

Convolutions are 1×3×3 and see one slice; down- and upsampling is 1×4×4 with stride (1, 2, 2), so that the depth stays
what it is; slices meet in the depth attention only. Axes: (N, channels, depth, height, width).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from SynthCTLib.medical_diffusion.attention import DepthAttention, SpatialAttention


class FactorizedUNet(nn.Module):
    """ε_θ(x_t, t): noisy latent → noise.

    Args:
        channels: of the latent. width: of the first level. multipliers: width of each level over ``width``.
        heads, head_channels: of every attention. norm_groups: of every GroupNorm.
    """

    def __init__(
        self,
        channels: int = 8,
        width: int = 64,
        multipliers: Sequence[int] = (1, 2, 4, 8),
        heads: int = 8,
        head_channels: int = 32,
        norm_groups: int = 8,
    ) -> None:
        super().__init__()
        widths = [width * m for m in multipliers]
        self.levels = len(widths)
        time = 4 * width
        self.time = nn.Sequential(
            SinusoidalTime(width), nn.Linear(width, time), nn.GELU(approximate="none"), nn.Linear(time, time)
        )

        def block(inputs: int, outputs: int) -> Block:
            return Block(inputs, outputs, time, heads, head_channels, norm_groups)

        self.first = nn.Conv3d(channels, width, (1, 7, 7), padding=(0, 3, 3))
        self.first_depth = DepthAttention(width, heads, head_channels)
        pairs = list(zip([width, *widths], widths, strict=False))
        self.down = nn.ModuleList(block(a, b) for a, b in pairs)
        self.shrink = nn.ModuleList(_plane_conv(w) for w in widths[:-1])
        self.middle = block(widths[-1], widths[-1])
        self.up = nn.ModuleList(block(2 * b, a) for a, b in reversed(pairs))
        self.grow = nn.ModuleList(_plane_transposed(w) for w in widths[-2::-1])
        self.last = ResidualBlock(2 * width, width, time, norm_groups)
        self.out = nn.Conv3d(width, channels, 1)

    def forward(self, x: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """``x`` (N, channels, D, H, W), H and W multiples of 2^(levels − 1); ``times`` (N,) in 0 … T − 1."""
        time = self.time(times)
        x = first = self.first_depth(self.first(x))
        skips = []
        for level, down in enumerate(self.down):
            x = down(x, time)
            skips.append(x)
            if level < self.levels - 1:
                x = self.shrink[level](x)
        x = self.middle(x, time)
        for level, up in enumerate(self.up):
            x = up(torch.cat([x, skips.pop()], 1), time)
            if level < self.levels - 1:
                x = self.grow[level](x)
        return self.out(self.last(torch.cat([x, first], 1), time))


class Block(nn.Module):
    """Two residual blocks, then spatial and depth attention: what the paper's U-Net has at every level."""

    def __init__(self, inputs: int, outputs: int, time: int, heads: int, head_channels: int, groups: int) -> None:
        super().__init__()
        self.first = ResidualBlock(inputs, outputs, time, groups)
        self.second = ResidualBlock(outputs, outputs, time, groups)
        self.spatial = SpatialAttention(outputs, heads, head_channels)
        self.depth = DepthAttention(outputs, heads, head_channels)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return self.depth(self.spatial(self.second(self.first(x, time), time)))


class ResidualBlock(nn.Module):
    """Twice 1×3×3, GroupNorm, SiLU; the time scales and shifts after the first GroupNorm."""

    def __init__(self, inputs: int, outputs: int, time: int, groups: int) -> None:
        super().__init__()
        self.scale_shift = nn.Sequential(nn.SiLU(), nn.Linear(time, 2 * outputs))
        self.first = slice_conv(inputs, outputs)
        self.first_norm = nn.GroupNorm(groups, outputs)
        self.second = slice_conv(outputs, outputs)
        self.second_norm = nn.GroupNorm(groups, outputs)
        self.activation = nn.SiLU()
        self.shortcut = nn.Conv3d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        scale, shift = self.scale_shift(time)[:, :, None, None, None].chunk(2, 1)
        hidden = self.activation(self.first_norm(self.first(x)) * (1 + scale) + shift)
        return self.activation(self.second_norm(self.second(hidden))) + self.shortcut(x)


class SinusoidalTime(nn.Module):
    """Time step → (N, width) of sines and cosines (Vaswani et al., section 3.5)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, times: torch.Tensor) -> torch.Tensor:
        half = self.width // 2
        frequency = torch.exp(-math.log(10000.0) * torch.arange(half, device=times.device) / (half - 1))
        angle = times.float()[:, None] * frequency
        return torch.cat([angle.sin(), angle.cos()], 1)


def slice_conv(inputs: int, outputs: int) -> nn.Conv3d:
    """A 1×3×3 convolution: each slice by itself."""
    return nn.Conv3d(inputs, outputs, (1, 3, 3), padding=(0, 1, 1))


def _plane_conv(width: int) -> nn.Conv3d:
    return nn.Conv3d(width, width, (1, 4, 4), stride=(1, 2, 2), padding=(0, 1, 1))


def _plane_transposed(width: int) -> nn.ConvTranspose3d:
    return nn.ConvTranspose3d(width, width, (1, 4, 4), stride=(1, 2, 2), padding=(0, 1, 1))
