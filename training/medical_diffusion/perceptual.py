"""Perceptual loss of 2D slices by EfficientNet-Lite0, in place of the VGG network, whose weights are not free."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from training.metrics.extractors import EFFICIENTNET_SHA256
from training.perceptual import EfficientNetMaps


class PerceptualLoss(nn.Module):
    """Distance of feature maps whose vectors have length 1 (LPIPS, Zhang et al., 1801.03924, equation 1, w = 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = EfficientNetMaps(None, EFFICIENTNET_SHA256).requires_grad_(False).eval()

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Both (N, 1, H, W) in [−1, 1]."""
        pairs = zip(self._vectors(output), self._vectors(target), strict=True)
        return torch.stack([(a - b).square().sum(1).mean() for a, b in pairs]).mean()

    def _vectors(self, slices: torch.Tensor) -> list[torch.Tensor]:
        return [F.normalize(found, dim=1, eps=1e-5) for found in self.maps((slices + 1) / 2)]
