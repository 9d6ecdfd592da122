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
    output: torch.Tensor, latent: torch.Tensor, noise: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """Squared velocity error (N, C, x, y, z), averaged with ``weight`` (1 or N, 1, x, y, z)."""
    error = (output.float() - (latent - noise)).square().mean(dim=1, keepdim=True)
    return (error * weight).sum() / (weight.sum() * error.shape[0] / weight.shape[0])


def voxel_weights(mask: torch.Tensor, bone: torch.Tensor, air_weight: float, bone_weight: float) -> torch.Tensor:
    """(N, 1, x, y, z) weights from a mask (N, 4x, 4y, 4z) of ids, one for each latent voxel's 4×4×4 block.

    ``air_weight`` without any body voxel; else from 1 without bone (``bone``: ids) to ``bone_weight`` for bone alone.
    Bone is a few percent of the body and the hardest part of it, most of all where it is thin.
    """
    body = F.max_pool3d((mask > 0).float()[:, None], 4)
    share = F.avg_pool3d(torch.isin(mask, bone).float()[:, None], 4)
    return air_weight + (1 - air_weight) * body + (bone_weight - 1) * share
