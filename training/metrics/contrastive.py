"""An encoder that recognizes patients: trained so that two distorted views of one CT are alike, and other CTs are not.

NT-Xent (Chen et al., ICML 2020) on whole bodies of 32³ voxels; views are mirrored, turned by up to 5°, moved, scaled,
blurred and noisy, as a copy by a generator may be.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

SIDE = 32
BATCH = 32
TEMPERATURE = 0.1
NOISE = 0.05


class Encoder(nn.Module):
    """(n, 1, 32, 32, 32) → (n, 128) of length 1."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 1
        for outputs in (16, 32, 64, 128):
            layers += [nn.Conv3d(inputs, outputs, 3, stride=2, padding=1), nn.GroupNorm(8, outputs), nn.GELU()]
            inputs = outputs
        self.maps = nn.Sequential(*layers)
        self.head = nn.Linear(inputs * 2**3, 128)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Embeddings; their dot product is the likeness."""
        return F.normalize(self.head(self.maps(x * 2 - 1).flatten(1)), dim=1)


def distorted(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Another view of each volume of (n, 1, s, s, s) in 0…1."""
    n = len(x)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator) * 2 - 1

    matrix = torch.eye(3).expand(n, 3, 3)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        angle = draw(n) * math.radians(5)
        turn = torch.eye(3).repeat(n, 1, 1)
        turn[:, i, i] = turn[:, j, j] = angle.cos()
        turn[:, i, j], turn[:, j, i] = -angle.sin(), angle.sin()
        matrix = matrix @ turn
    matrix = matrix * (1 + 0.05 * draw(n, 1, 3))
    matrix[:, 2] *= draw(n, 1).sign()  # the last row of grid coordinates is the first axis: right-left
    grid = F.affine_grid(torch.cat([matrix, 0.06 * draw(n, 3, 1)], 2), list(x.shape), align_corners=False)
    view = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    blurred = F.avg_pool3d(F.pad(view, [1] * 6, mode="replicate"), 3, 1)
    share = (draw(n, 1, 1, 1, 1) + 1) / 2
    view = view + share * (blurred - view)
    return view + NOISE * share.flip(0) * torch.randn(view.shape, generator=generator)


def contrast(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """NT-Xent of two views (n, d) of length 1: each view has to find its partner among all others of the batch."""
    both = torch.cat([a, b])
    likeness = both @ both.T / TEMPERATURE
    likeness.fill_diagonal_(-torch.inf)
    n = len(a)
    return F.cross_entropy(likeness, torch.arange(2 * n).roll(n))


def train_encoder(volumes: torch.Tensor, steps: int, seed: int) -> Encoder:
    """Train on (n, 1, 32, 32, 32) volumes in 0…1, on the CPU, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        batch = volumes[torch.randperm(len(volumes), generator=generator)[:BATCH]]
        loss = contrast(encoder(distorted(batch, generator)), encoder(distorted(batch, generator)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return encoder.eval()
