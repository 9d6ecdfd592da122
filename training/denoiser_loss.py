"""The denoiser's regression loss, and how much each part of the body counts in it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F

BLOCK = 4
"""Voxels of the mask along a side of a latent voxel."""


def weighted_loss(output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, kind: str = "mse") -> torch.Tensor:
    """Mean error of ``output`` (N, C, x, y, z), weighted with ``weight`` (1 or N, 1, x, y, z).

    ``mse``: the minimizer is the conditional mean, which the flow's ODE and the DDPM chain need. ``l1``, as in MAISI's
    code, gives the conditional median and is less moved by rare, large errors. Weights are divided by their sum, so
    that a crop with a heavy region shifts attention within the crop and not the learning rate.
    """
    error = output.float() - target
    error = (error.abs() if kind == "l1" else error.square()).mean(dim=1, keepdim=True)
    return (error * weight).sum() / (weight.sum() * error.shape[0] / weight.shape[0])


def voxel_weights(
    mask: torch.Tensor, air_weight: float, label_weights: Mapping[tuple[int, ...], float]
) -> torch.Tensor:
    """(N, 1, x, y, z) weights from a mask (N, 4x, 4y, 4z) of ids, one for each latent voxel's 4×4×4 block.

    ``air_weight`` without any body voxel, else 1. To that, each entry of ``label_weights`` (ids → weight) adds in
    proportion to its share of the block: a block full of a tumor of weight 100 counts 100 (MAISI's region weight,
    arXiv 2409.11169, section 3.3), one with 4 of 64 voxels 7.2, where MAISI's nearest-voxel rule gives 100 or 1.
    """
    body = F.max_pool3d((mask > 0).float()[:, None], BLOCK)
    weights = air_weight + (1 - air_weight) * body
    for ids, weight in label_weights.items():
        inside = torch.isin(mask, torch.tensor(ids, device=mask.device))
        weights = weights + (weight - 1) * F.avg_pool3d(inside.float()[:, None], BLOCK)
    return weights
