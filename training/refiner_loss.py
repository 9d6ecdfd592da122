"""Terms of the refiner's loss beside those of the autoencoder (:mod:`training.autoencoder_loss`).

A sampled CT is not the real CT of its mask: where fat and muscle lie is its own. It is held to the real one only where
the mask tells what is there (*told*: bone, lung, airways, lesions), to itself at a coarse scale elsewhere, and to
the texture of the real one everywhere.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.utils import pixelunshuffle

from SynthCTLib.labels import load_vocabulary
from SynthCTLib.refiner import FACTOR

COARSE = 4
"""Voxels along each axis over which a sampled CT keeps its mean."""

LEAST = 400
"""Voxels of a kind of tissue in a crop below which its texture is not compared."""

SCALES = 2
"""Texture is compared at the grid's scale and at twice of it."""


def told_ids() -> tuple[int, ...]:
    """Ids of which the mask shows every voxel: bone, lung, airways and lesions."""
    vocabulary = load_vocabulary()
    lesions = tuple(label.id for label in vocabulary.lesions())
    return (*vocabulary.group_ids("bone"), *vocabulary.group_ids("lung"), vocabulary.find("trachea").id, *lesions)


def tissues() -> list[tuple[int, ...]]:
    """Ids whose texture is compared together: bone, lung, everything else in the body."""
    vocabulary = load_vocabulary()
    bone, lung = vocabulary.group_ids("bone"), vocabulary.group_ids("lung")
    airways = vocabulary.find("trachea").id
    rest = tuple(i for i in range(1, 256) if i not in bone and i not in lung and i != airways)
    return [bone, lung, rest]


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

    The refiner computes the voxels of a cell with weights of their own, so that a checkerboard is the easiest way to
    more texture (Aitken et al., arXiv 1707.02937). Means are taken over ``COARSE`` cells along each axis. Both are
    (N, 1, X, Y, Z).
    """
    means = F.avg_pool3d(pixelunshuffle(output - sampled, 3, FACTOR), COARSE)
    return (means - means.mean(1, keepdim=True)).abs().mean()


def texture(output: torch.Tensor, real: torch.Tensor, mask: torch.Tensor, kinds: list[tuple[int, ...]]) -> torch.Tensor:
    """How far the strength of texture is from the real one's: mean |log ratio| of mean |difference of neighbors|.

    Per kind of tissue, axis and scale, over the batch. Differences count where both voxels are of the tissue.
    """
    terms = []
    for ids in kinds:
        inside = is_among(mask, ids).float()
        ours, theirs = output, real
        for _ in range(SCALES):
            if inside.sum() < LEAST:
                break
            for axis in (2, 3, 4):
                both = inside.narrow(axis, 1, inside.shape[axis] - 1) * inside.narrow(axis, 0, inside.shape[axis] - 1)
                count = both.sum().clamp_min(1)
                mean, wanted = ((image.diff(dim=axis).abs() * both).sum() / count for image in (ours, theirs))
                terms.append(((mean + 1e-4).log() - (wanted + 1e-4).log()).abs())
            ours, theirs = F.avg_pool3d(ours, 2), F.avg_pool3d(theirs, 2)
            inside = (F.avg_pool3d(inside, 2) == 1).float()
    return torch.stack(terms).mean() if terms else output.sum() * 0
