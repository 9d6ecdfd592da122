"""Perceptual loss of 2D slices by EfficientNet-Lite0, in place of the VGG network, whose weights are not free."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from training.metrics.extractors import EfficientNetLite0

STAGES = 4
"""Feature maps used: at a half, quarter, eighth and sixteenth of the slice."""


class PerceptualLoss(nn.Module):
    """Distance of feature maps whose vectors have length 1 (LPIPS, Zhang et al., 1801.03924, equation 1, w = 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.network: Any = EfficientNetLite0(slices=1).network.requires_grad_(False)

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Both (N, 1, H, W) in [−1, 1]."""
        pairs = zip(self.features(output), self.features(target), strict=True)
        return torch.stack([(a - b).square().sum(1).mean() for a, b in pairs]).mean()

    def features(self, slices: torch.Tensor) -> list[torch.Tensor]:
        """The last map of each size, vectors over channels normalized."""
        net = self.network.eval()
        x = net._swish(net._bn0(net._conv_stem(slices.expand(-1, 3, -1, -1))))
        maps = []
        for block in net._blocks:
            following = block(x)
            if following.shape[-2:] != x.shape[-2:]:
                maps.append(x)
                if len(maps) == STAGES:
                    break
            x = following
        return [F.normalize(found, dim=1, eps=1e-6) for found in maps]
