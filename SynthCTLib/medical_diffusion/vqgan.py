"""The 3D VQ-GAN's encoder and decoder around the codebook (Medical Diffusion, "VQ-GAN"; Esser et al., 2012.09841).

Axes of all tensors: (N, channels, depth, height, width). Replicated borders, no attention, no activation at the end.
Where the public code pads a kernel of 4 unevenly on an axis that is not reduced, a kernel of 3 is used, which does
not move the image by half a voxel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from SynthCTLib.medical_diffusion.codebook import Codebook


class VqGan(nn.Module):
    """Encoder E, codebook Z and decoder G.

    Args:
        channels: width of the encoder's first convolution, doubled at every level.
        decoder_channels: width of the decoder's last level, doubled at every level below; default: twice ``channels``.
        latent_channels, codes: the codebook is ``codes`` × ``latent_channels``.
        downsampling: factor along depth, height and width, powers of 2 that may differ.
        norm_groups: groups of each normalization. A group needs two channels or more: alone, a channel is normalized
            to mean 0 whatever its brightness, and absolute intensity (HU) is lost.

    Raises:
        ValueError: a factor that is no power of 2, or groups that do not fit the widths.
    """

    def __init__(
        self,
        channels: int = 16,
        latent_channels: int = 8,
        codes: int = 16384,
        downsampling: Sequence[int] = (8, 8, 8),
        norm_groups: int = 4,
        decoder_channels: int | None = None,
    ) -> None:
        super().__init__()
        last = decoder_channels or 2 * channels
        if any(width % norm_groups or width // norm_groups < 2 for width in (channels, last)):
            raise ValueError(f"norm_groups must divide {channels} and {last} channels into groups of at least two")
        self.strides = level_strides(downsampling)
        self.downsampling = tuple(downsampling)
        widths = [channels * 2**level for level in range(len(self.strides) + 1)]
        self.encoder = _encoder(widths, self.strides, latent_channels, norm_groups)
        self.codebook = Codebook(codes, latent_channels)
        widths = [last * 2**level for level in range(len(self.strides))]
        self.decoder = _decoder(widths, self.strides, latent_channels, norm_groups)

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        """``image`` (N, 1, D, H, W) in [−1, 1] → unquantized latents z_e (N, latent_channels, D/s, H/s, W/s)."""
        return self.encoder(image)

    def decode(self, quantized: torch.Tensor) -> torch.Tensor:
        """Codes (N, latent_channels, d, h, w) → image (N, 1, D, H, W), about [−1, 1]."""
        return self.decoder(quantized)

    def reconstruct(self, image: torch.Tensor) -> torch.Tensor:
        """Image through encoder, codebook and decoder."""
        return self.decode(self.codebook.quantize(self.encode(image)))


def level_strides(downsampling: Sequence[int]) -> list[tuple[int, ...]]:
    """Strides of each level: 2 along the axes that still have to be reduced, else 1; (2, 4, 4) → (2,2,2), (1,2,2)."""
    exponents = [math.log2(factor) for factor in downsampling]
    if len(exponents) != 3 or any(e != int(e) or e < 0 for e in exponents) or max(exponents) < 1:
        raise ValueError(f"downsampling must be three powers of 2, at least one above 1, not {list(downsampling)}")
    return [tuple(2 if level < e else 1 for e in exponents) for level in range(int(max(exponents)))]


class _Residual(nn.Module):
    """x + convolutions of x: twice GroupNorm, SiLU, 3³."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        layers = [layer for _ in range(2) for layer in (*_norm(channels, groups), _conv3(channels, channels))]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


def _norm(channels: int, groups: int) -> tuple[nn.Module, nn.Module]:
    return nn.GroupNorm(groups, channels, eps=1e-6), nn.SiLU()


def _conv3(inputs: int, outputs: int) -> nn.Conv3d:
    return nn.Conv3d(inputs, outputs, 3, padding=1, padding_mode="replicate")


def _kernel(stride: tuple[int, ...]) -> tuple[int, int, int]:
    depth, height, width = (4 if s == 2 else 3 for s in stride)
    return depth, height, width


def _encoder(widths: list[int], strides: list[tuple[int, ...]], latent: int, groups: int) -> nn.Sequential:
    layers: list[nn.Module] = [_conv3(1, widths[0])]
    for narrow, wide, stride in zip(widths, widths[1:], strides, strict=False):
        down = nn.Conv3d(narrow, wide, _kernel(stride), stride=stride, padding=1, padding_mode="replicate")  # type: ignore[arg-type]
        layers += [down, _Residual(wide, groups)]
    return nn.Sequential(*layers, *_norm(widths[-1], groups), nn.Conv3d(widths[-1], latent, 1))


def _decoder(widths: list[int], strides: list[tuple[int, ...]], latent: int, groups: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv3d(latent, widths[-1], 1)]
    rising = widths[::-1]
    for wide, narrow, stride in zip([rising[0], *rising], rising, strides[::-1], strict=False):
        up = nn.ConvTranspose3d(wide, narrow, _kernel(stride), stride=stride, padding=1)  # type: ignore[arg-type]
        layers += [up, _Residual(narrow, groups), _Residual(narrow, groups)]
    return nn.Sequential(*layers, _conv3(widths[0], 1))
