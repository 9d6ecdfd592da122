"""Terms of the refiner's loss beside those of the autoencoder (:mod:`training.autoencoder_loss`).

A sampled CT is not the real CT of its mask: where fat and muscle lie is its own. It is held to the real one only where
the mask tells what is there (*told*: bone, lung, airways, lesions), and to itself at a coarse scale elsewhere.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.utils import pixelunshuffle

from SynthCTLib.labels import load_vocabulary
from SynthCTLib.refiner import FACTOR

COARSE = 4
"""Voxels along each axis over which a sampled CT keeps its mean."""


def told_ids() -> tuple[int, ...]:
    """Ids of which the mask shows every voxel: bone, lung, airways and lesions."""
    vocabulary = load_vocabulary()
    lesions = tuple(label.id for label in vocabulary.lesions())
    return (*vocabulary.group_ids("bone"), *vocabulary.group_ids("lung"), vocabulary.find("trachea").id, *lesions)


def is_among(mask: torch.Tensor, ids: tuple[int, ...]) -> torch.Tensor:
    """(N, 1, X, Y, Z) bool: where a mask (N, X, Y, Z) has one of these ids."""
    table = torch.zeros(256, dtype=torch.bool, device=mask.device)
    table[list(ids)] = True
    return table[mask.long()][:, None]


def follow(output: torch.Tensor, real: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
    """L1 where the mask tells what is there, and one voxel around; averaged over all voxels. (N, 1, X, Y, Z)."""
    near = F.max_pool3d(told.float(), 3, stride=1, padding=1)
    return ((output - real).abs() * near).mean()


def keep(output: torch.Tensor, sampled: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
    """L1 of coarse means where the mask tells nothing; averaged over all voxels. (N, 1, X, Y, Z)."""
    elsewhere = (~told).float()
    difference = F.avg_pool3d((output - sampled) * elsewhere, COARSE)
    return difference.abs().mean()


def pattern(output: torch.Tensor, sampled: torch.Tensor) -> torch.Tensor:
    """Strength of a fixed pattern in what was added: how far the means of the eight voxels of a cell are apart.

    The refiner computes the voxels of a cell with weights of their own, which invites checkerboards (Aitken et al.,
    arXiv 1707.02937). Means are taken over ``COARSE`` cells along each axis. (N, 1, X, Y, Z).
    """
    means = F.avg_pool3d(pixelunshuffle(output - sampled, 3, FACTOR), COARSE)
    return (means - means.mean(1, keepdim=True)).abs().mean()
