"""RadImageNet's ResNet-50 from a file of the user (in no package registry), and the protocol of MAISI's paper.

The layout of the file is that of the PyTorch conversion which MAISI's evaluation uses: the Keras network, so its
convolutions have biases, the stride is in the first convolution of a block, and ε of the batch norms is 1.001e-5.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from SynthCTLib.errors import InputError
from SynthCTLib.model_files import sha256_of
from training.metrics.extractors import Features
from training.metrics.slices import PLANES, central_slices, to_unit

BGR_MEAN = (0.406, 0.456, 0.485)
SIDE = 512  # voxels of 1 mm
CENTRAL = 0.4


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1.001e-5)


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolution beside a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int, shortcut: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, stride), _norm(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1), _norm(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1), _norm(4 * width)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, 4 * width, 1, stride), _norm(4 * width)) if shortcut else nn.Identity()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, inputs, h, w) → (n, 4 · width, h / stride, w / stride)."""
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        return (self.bn3(self.conv3(y)) + self.downsample(x)).relu()


class ResNet50(nn.Module):
    """(n, 3, h, w) → (n, 2048, h / 32, w / 32)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3), _norm(64)
        inputs = 64
        for number, (width, blocks, stride) in enumerate(((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)), start=1):
            layers = [Bottleneck(inputs, width, stride, shortcut=True)]
            layers += [Bottleneck(4 * width, width, 1, shortcut=False) for _ in range(blocks - 1)]
            setattr(self, f"layer{number}", nn.Sequential(*layers))
            inputs = 4 * width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Feature maps before any pooling."""
        x = F.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        for number in range(1, 5):
            x = getattr(self, f"layer{number}")(x)
        return x


class RadImageNet:
    """Spatial mean of the 2048 maps of RadImageNet's ResNet-50.

    ``maisi_exact``: 1 mm, padded with −1000 and center-cropped to 512³, the central 40 % of the slices, min-max per
    volume and plane; else the slices and the window of the other networks here.

    Raises:
        InputError: the file is missing, is not the one that the checksum names, or has other weights.
    """

    def __init__(self, path: Path, checksum: str, maisi_exact: bool, slices: int) -> None:
        if not path.is_file():
            raise InputError(f"There is no file {path}: give the path of RadImageNet's ResNet-50 weights.")
        digest = sha256_of(path)
        if checksum and digest != checksum:
            raise InputError(f"{path} has the SHA-256 {digest}, not {checksum}: download it again.")
        self.exact, self.slices = maisi_exact, slices
        self.name = "radimagenet-resnet50-maisi" if maisi_exact else "radimagenet-resnet50"
        self.fingerprint = f"{self.name} {digest} {slices}"
        self.network = ResNet50().eval()
        try:
            self.network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        except RuntimeError as error:
            raise InputError(f"{path} does not hold the weights of RadImageNet's ResNet-50 in PyTorch.") from error

    @torch.inference_mode()
    def __call__(self, hu: np.ndarray, spacing: tuple[float, float, float]) -> Features:
        """2048 features of each slice."""
        if self.exact:
            hu = maisi_cube(hu, spacing)
        result = {}
        for axis, plane in enumerate(PLANES):
            pictures = maisi_slices(hu, axis) if self.exact else central_slices(hu, spacing, axis, self.slices, 224)
            mean = torch.tensor(BGR_MEAN).view(1, 3, 1, 1)
            parts = [self.network(part[:, None] - mean).mean((2, 3)) for part in pictures.split(4)]
            result[plane] = torch.cat(parts).numpy()
        return result


def maisi_cube(hu: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """HU on a grid of 1 mm, padded with −1000 and cropped around the center to 512³, cut off beyond ±1000."""
    size = tuple(max(1, round((n - 1) * s) + 1) for n, s in zip(hu.shape, spacing, strict=True))
    volume = torch.from_numpy(hu.astype(np.float32))[None, None]
    volume = F.interpolate(volume, size=size, mode="trilinear", align_corners=True)[0, 0]
    cube = torch.full((SIDE,) * 3, -1000.0)
    source, target = [], []
    for n in volume.shape:
        kept = min(n, SIDE)
        source.append(slice((n - kept) // 2, (n - kept) // 2 + kept))
        target.append(slice((SIDE - kept) // 2, (SIDE - kept) // 2 + kept))
    cube[tuple(target)] = volume[tuple(source)]
    return cube.clamp(-1000, 1000).numpy()


def maisi_slices(cube: np.ndarray, axis: int) -> torch.Tensor:
    """The central 40 % of the slices across an axis, scaled from their own minimum and maximum to 0…1."""
    n = cube.shape[axis]
    first, last = int((1 - CENTRAL) / 2 * n), int((1 + CENTRAL) / 2 * n)
    slices = torch.from_numpy(cube).movedim(axis, 0)[first:last]
    low, high = slices.min(), slices.max()
    return (slices - low) / (high - low) if high > low else to_unit(slices)
