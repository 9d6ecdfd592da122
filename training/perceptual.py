"""Distance between volumes as a feature network sees it: slices of three planes (2.5D), differentiable.

LPIPS without its learned weights (Zhang et al., arXiv 1801.03924, equation 1 with w = 1): at several depths, features
are divided by their length across channels, and squared differences are summed over channels and averaged over places.
MAISI's perceptual loss is the same idea with another network; distances of different networks never compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from SynthCTLib.errors import InputError
from training.metrics.extractors import EFFICIENTNET_SHA256, load_efficientnet_lite0, load_features
from training.metrics.radimagenet import BGR_MEAN, ResNet50


class EfficientNetMaps(nn.Module):
    """Feature maps of EfficientNet-Lite0 at 1/2, 1/4, 1/8 and 1/16 of the resolution."""

    TAPS = (0, 2, 4, 10)  # the last block of each resolution

    def __init__(self, path: Path | None, checksum: str) -> None:
        super().__init__()
        self.network = load_efficientnet_lite0(path, checksum)

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """(n, 1, h, w) in the unit range → maps (n, c, h / 2^k, w / 2^k)."""
        net: Any = self.network
        x = (pictures.expand(-1, 3, -1, -1) * 255 - 127) / 128
        x = net._swish(net._bn0(net._conv_stem(x)))
        maps = []
        for number, block in enumerate(net._blocks[: self.TAPS[-1] + 1]):
            x = block(x)
            if number in self.TAPS:
                maps.append(x)
        return maps


class ResNet50Maps(nn.Module):
    """Feature maps of RadImageNet's ResNet-50 (a file of the user) at 1/2 to 1/16 of the resolution."""

    def __init__(self, path: Path | None, checksum: str) -> None:
        super().__init__()
        if path is None:
            raise InputError(
                "'feature_network.file' must name the weights of RadImageNet's ResNet-50; none come with it."
            )
        self.network = ResNet50().eval()
        load_features(self.network, path, checksum)
        self.register_buffer("mean", torch.tensor(BGR_MEAN).view(1, 3, 1, 1))

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """(n, 1, h, w) in the unit range → maps (n, c, h / 2^k, w / 2^k)."""
        net: Any = self.network
        x = net.bn1(net.conv1(pictures - self.get_buffer("mean"))).relu()
        maps = [x]
        x = nn.functional.max_pool2d(x, 3, 2, 1)
        for layer in (net.layer1, net.layer2, net.layer3):
            x = layer(x)
            maps.append(x)
        return maps


def build_features(settings: Mapping[str, Any]) -> nn.Module:
    """The network of the config's ``feature_network``, without gradients for its weights.

    Raises InputError if its file is missing, is not the one that the checksum names, or holds other weights.
    """
    given = settings.get("file") or ""
    lite = settings["name"] == "efficientnet-lite0"
    checksum = settings.get("sha256") or (EFFICIENTNET_SHA256 if lite and not given else "")
    network = (EfficientNetMaps if lite else ResNet50Maps)(Path(given) if given else None, checksum)
    return network.requires_grad_(False).eval()


def draw_slices(shape: tuple[int, ...], count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """``count`` random positions along each axis of a volume (X, Y, Z), or all where there are fewer."""
    return [rng.choice(n, min(count, n), replace=False) for n in shape]


def even_slices(shape: tuple[int, ...], count: int) -> list[np.ndarray]:
    """``count`` positions along each axis of a volume (X, Y, Z), in the middles of as many equal parts."""
    return [np.unique(((np.arange(count) + 0.5) * n / count).astype(int)) for n in shape]


def perceptual_distance(
    features: nn.Module, output: torch.Tensor, target: torch.Tensor, slices: list[np.ndarray]
) -> torch.Tensor:
    """Mean distance of two volumes (N, 1, X, Y, Z) in the unit range over the slices of three planes."""
    distances = []
    for axis, positions in enumerate(slices):
        index = torch.from_numpy(positions).to(output.device)
        pictures = [
            v.float().index_select(axis + 2, index).movedim(axis + 2, 1).flatten(0, 1) for v in (output, target)
        ]
        with torch.autocast(output.device.type, enabled=False):  # half precision is too coarse for small differences
            pairs = zip(features(pictures[0]), features(pictures[1]), strict=True)
            distances.append(torch.stack([_difference(a, b) for a, b in pairs]).mean())
    return torch.stack(distances).mean()


def _difference(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    unit_a, unit_b = (x / (x.square().sum(1, keepdim=True) + 1e-10).sqrt() for x in (a, b))
    return (unit_a - unit_b).square().sum(1).mean()
