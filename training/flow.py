"""Rectified-flow training objective (Liu et al., arXiv 2209.03003; MAISI-v2, arXiv 2508.05772).

x_t = (1 − t) x_0 + t ε; the network predicts the velocity toward the data, x_0 − ε. Mean squared error is used, whose
minimizer is the conditional mean that the flow's ODE needs; the reference's L1 would give the conditional median.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def draw_times(count: int, generator: torch.Generator) -> torch.Tensor:
    """(count,) times in 0-1000, stratified, so that one small batch covers the whole range."""
    return (torch.arange(count) + torch.rand(count, generator=generator)) / count * 1000.0


def noisy(latent: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    """x_t for times in 0-1000."""
    t = (times / 1000.0).view(-1, 1, 1, 1, 1)
    return (1 - t) * latent + t * noise


def velocity_loss(
    output: torch.Tensor, latent: torch.Tensor, noise: torch.Tensor, body: torch.Tensor, air_weight: float
) -> torch.Tensor:
    """Mean squared velocity error; latent voxels without any body count ``air_weight``."""
    weight = air_weight + (1 - air_weight) * body
    error = (output.float() - (latent - noise)).square().mean(dim=1, keepdim=True)
    return (error * weight).sum() / (weight.sum() * error.shape[0] / weight.shape[0])


def body_share(mask: torch.Tensor) -> torch.Tensor:
    """(N, 1, x, y, z): 1 where a latent voxel's 4×4×4 block holds any body voxel."""
    return F.max_pool3d((mask > 0).float()[:, None], 4)
