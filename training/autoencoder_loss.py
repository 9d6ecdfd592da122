"""Terms of the autoencoder's loss: MAISI's (arXiv 2409.11169, section 3.1), and two of L1 for small networks.

    L = λ_l1 L1 + λ_perc L_perc + λ_kl KL + λ_adv L_adv         MAISI: 1, 0.3, 1e-7 (sum per patch), 0.1

L_adv is in :mod:`training.adversary`. ``window_l1``: L1 in a soft-tissue window, whose contrast else drowns in a range
of 2000 HU. ``edges_l1``: L1 of differences of neighbors, sharp edges without a perceptual network. ``bone_surface``: a
soft threshold, since thin bone that is smeared over its neighbors costs little in all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from training.perceptual import draw_slices, perceptual_distance


def window_l1(output: torch.Tensor, target: torch.Tensor, window: tuple[float, float]) -> torch.Tensor:
    """L1 where the target lies in a window of the unit range, averaged over all voxels, as a share of its width.

    Chosen by the target alone, so an output that strays out of the window still gets a gradient.
    """
    low, high = window
    inside = ((target > low) & (target < high)).float()
    return ((output - target).abs() * inside).mean() / (high - low)


def edges_l1(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """L1 of finite differences along the three axes, summed; (N, 1, X, Y, Z)."""
    return torch.stack([(output.diff(dim=d) - target.diff(dim=d)).abs().mean() for d in (2, 3, 4)]).sum()


BONE, BONE_WIDTH = 0.565, 0.025
"""130 HU and 50 HU in the unit range of the CT."""


def bone_surface(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean difference of soft thresholds at 130 HU, for CT in the unit range of [-1000, 1000] HU."""
    ours, theirs = (((image - BONE) / BONE_WIDTH).sigmoid() for image in (output, target))
    return (ours - theirs).abs().mean()


def kl_divergence(mu: torch.Tensor, sigma: torch.Tensor, per: str = "element") -> torch.Tensor:
    """KL to a unit Gaussian (Kingma & Welling, appendix B): mean over elements, or ``per`` "patch", their sum."""
    each = 0.5 * (mu.square() + sigma.square() - (sigma.square() + 1e-8).log() - 1)
    return each.mean() if per == "element" else each.flatten(1).sum(1).mean()


class ReconstructionLoss:
    """All terms but the adversarial one, with the config's weights; a term of weight 0 is not computed."""

    def __init__(self, settings: Mapping[str, Any], features: nn.Module | None) -> None:
        """``features``: of :mod:`training.perceptual`, needed if ``perceptual`` has a weight."""
        self.settings, self.features = settings, features

    def image(self, output: torch.Tensor, target: torch.Tensor, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """Weighted terms of the image (N, 1, X, Y, Z) in the unit range by name; ``rng`` chooses slices."""
        s = self.settings
        terms = {}
        if s["l1"]:
            terms["l1"] = s["l1"] * (output - target).abs().mean()
        if s["window_l1"]:
            terms["window_l1"] = s["window_l1"] * window_l1(output, target, tuple(s["window"]))
        if s["edges_l1"]:
            terms["edges_l1"] = s["edges_l1"] * edges_l1(output, target)
        if s["bone_surface"]:
            terms["bone_surface"] = s["bone_surface"] * bone_surface(output, target)
        if s["perceptual"]:
            assert self.features is not None
            slices = draw_slices(tuple(output.shape[2:]), s["perceptual_slices"], rng)
            terms["perceptual"] = s["perceptual"] * perceptual_distance(self.features, output, target, slices)
        return terms

    def latent(self, mu: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The weighted KL term of a latent (N, C, x, y, z)."""
        return self.settings["kl"] * kl_divergence(mu.float(), sigma.float(), self.settings["kl_per"])
