"""Factorized attention (Medical Diffusion, "Diffusion model"; Ho et al., video diffusion, 2204.03458).

Spatial attention: each slice by itself, the depth is part of the batch. Depth attention: each column by itself, the
plane is part of the batch. Both: softmax(q·k/√d)·v (Vaswani et al., equation 1), added to their input.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

MAX_DISTANCE = 32
"""Slices farther apart than this have one relative position."""


class Attention(nn.Module):
    """Multi-head self-attention over sequences (batch, length, channels), with LayerNorm before and a residual path."""

    def __init__(self, channels: int, heads: int, head_channels: int, positions: bool) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * heads * head_channels, bias=False)
        self.out = nn.Linear(heads * head_channels, channels)
        self.position_bias = nn.Embedding(2 * MAX_DISTANCE + 1, heads) if positions else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        bias = None
        if self.position_bias is not None:
            q, k = rotate(q), rotate(k)
            bias = self.position_bias(relative_positions(length, x.device)).permute(2, 0, 1)[None].to(q.dtype)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return x + self.out(mixed.transpose(1, 2).reshape(batch, length, -1))


class SpatialAttention(Attention):
    """All voxels of a slice attend to each other; (N, C, D, H, W) with D as part of the batch."""

    def __init__(self, channels: int, heads: int, head_channels: int) -> None:
        super().__init__(channels, heads, head_channels, positions=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, d, h, w = x.shape
        slices = x.permute(0, 2, 3, 4, 1).reshape(n * d, h * w, c)
        return super().forward(slices).reshape(n, d, h, w, c).permute(0, 4, 1, 2, 3)


class DepthAttention(Attention):
    """All slices of a column attend to each other; (N, C, D, H, W) with the plane as part of the batch."""

    def __init__(self, channels: int, heads: int, head_channels: int) -> None:
        super().__init__(channels, heads, head_channels, positions=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, d, h, w = x.shape
        columns = x.permute(0, 3, 4, 2, 1).reshape(n * h * w, d, c)
        return super().forward(columns).reshape(n, h, w, d, c).permute(0, 4, 3, 1, 2)


def relative_positions(length: int, device: torch.device) -> torch.Tensor:
    """(length, length): slice of the key minus slice of the query, cut to ±:data:`MAX_DISTANCE`, counted from 0."""
    place = torch.arange(length, device=device)
    return (place[None] - place[:, None]).clamp(-MAX_DISTANCE, MAX_DISTANCE) + MAX_DISTANCE


def rotate(x: torch.Tensor) -> torch.Tensor:
    """Rotary position embedding of (…, length, channels): pairs of channels turned by place × frequency.

    Su et al., 2104.09864, equation 34: after it q·k depends on the distance of two places alone.
    """
    half = x.shape[-1] // 2
    frequency = 10000.0 ** (-torch.arange(half, device=x.device) / half)
    angle = torch.arange(x.shape[-2], device=x.device)[:, None] * frequency
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)
