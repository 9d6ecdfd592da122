"""MAISI's encoder and decoder as a chain of small layers, each of which can compute any box of its output alone.

A box is a (start, stop) pair per axis, in voxels of the grid that the layer works on. A layer says which box of its
input a box of its output needs (:meth:`Layer.needs`) and computes exactly that output from exactly that input, with
zeros, as in the whole volume, only where the volume itself ends. So tiles differ from the whole by rounding alone;
the one thing that a tile cannot know, the statistics of group normalization, is given to it (see ``seamless``).

A residual block is taken apart: :class:`Fork` remembers its input, :class:`Join` adds it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
import torch.nn.functional as F
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import (
    AutoencoderKlMaisi,
    MaisiConvolution,
    MaisiDownsample,
    MaisiGroupNorm3D,
    MaisiResBlock,
    MaisiUpsample,
)
from torch import nn

from SynthCTLib import winograd
from SynthCTLib.convolution import convolve, strided
from SynthCTLib.errors import ModelError

Size = tuple[int, ...]
Box = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class State:
    """What lies between two layers: (1, C, x, y, z) features, and in a residual block what will be added to them."""

    main: torch.Tensor
    skip: torch.Tensor | None = None

    def crop(self, have: Box, want: Box) -> State:
        """The part of box ``have`` that is ``want``; no copy."""
        return State(crop(self.main, have, want), None if self.skip is None else crop(self.skip, have, want))


class Layer(Protocol):
    """One step; ``size`` is always the size of its whole input."""

    def size(self, size: Size) -> Size:
        """Size of the whole output."""

    def needs(self, box: Box, size: Size) -> Box:
        """Box of the input that ``box`` of the output depends on."""

    def run(self, state: State, box: Box, size: Size) -> State:
        """``box`` of the output from the input's ``needs(box, size)``."""


def crop(x: torch.Tensor, have: Box, want: Box) -> torch.Tensor:
    """View of ``want`` inside a tensor that covers ``have``."""
    inside = (slice(a - start, b - start) for (a, b), (start, _) in zip(want, have, strict=True))
    return x[(slice(None), slice(None), *inside)]


class SameSize:
    """A layer whose output voxel needs the same input voxel alone."""

    def size(self, size: Size) -> Size:
        """Unchanged."""
        return size

    def needs(self, box: Box, size: Size) -> Box:
        """Unchanged."""
        return box


@dataclass(frozen=True)
class Convolve(SameSize):
    """Convolution with an odd kernel and as many voxels of padding as keep the size."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    @property
    def reach(self) -> int:
        """Voxels that the kernel looks to each side."""
        return int(self.weight.shape[-1]) // 2

    @cached_property
    def transformed(self) -> torch.Tensor:
        """The kernel for Winograd's method, kept for as long as this layer."""
        return winograd.transformed(self.weight)

    def needs(self, box: Box, size: Size) -> Box:
        """One voxel more on each side for a kernel of 3, up to the end of the volume."""
        r = self.reach
        return tuple((max(0, a - r), min(n, b + r)) for (a, b), n in zip(box, size, strict=True))

    def run(self, state: State, box: Box, size: Size) -> State:
        """Zeros stand in where the volume ends."""
        r = self.reach
        missing = [(max(0, r - a), max(0, b + r - n)) for (a, b), n in zip(box, size, strict=True)]
        main = convolve(state.main, self.weight, self.bias, missing, lambda: self.transformed)
        skip = None if state.skip is None else crop(state.skip, self.needs(box, size), box)
        return State(main, skip)


@dataclass(frozen=True)
class Normalize(SameSize):
    """Group normalization, SiLU behind it in residual blocks. No :class:`Layer`: it needs statistics of the volume."""

    weight: torch.Tensor
    bias: torch.Tensor
    groups: int
    eps: float
    activation: bool
    dtype: torch.dtype

    def normalized(self, state: State, mean: torch.Tensor, variance: torch.Tensor) -> State:
        """Normalized with a mean and a variance per channel, float32; the result is in ``dtype``."""
        # A view, as tiles of stored features are, takes PyTorch's normalization six times as long as a copy with it.
        main = state.main.to(self.dtype).contiguous(memory_format=torch.channels_last_3d)
        main = F.batch_norm(main, mean, variance, self.weight, self.bias, training=False, eps=self.eps)
        return State(F.silu(main, inplace=True) if self.activation else main, state.skip)


Step = Layer | Normalize
"""One link of a chain."""


@dataclass(frozen=True)
class Fork(SameSize):
    """Remembers what a residual block will add: its input, or a 1×1×1 convolution of it."""

    shortcut: Convolve | None

    def run(self, state: State, box: Box, size: Size) -> State:
        """``skip`` is set."""
        skip = state.main if self.shortcut is None else self.shortcut.run(state, box, size).main
        return State(state.main, skip)


class Join(SameSize):
    """Adds what :class:`Fork` remembered."""

    def run(self, state: State, box: Box, size: Size) -> State:
        """``main`` always is fresh from a convolution, so it may be changed in place."""
        assert state.skip is not None
        return State(state.main.add_(state.skip))


class Enlarge:
    """Trilinear interpolation to twice the size (align_corners=False): out[2j] = ¼ in[j−1] + ¾ in[j], and mirrored."""

    def size(self, size: Size) -> Size:
        """Twice the input."""
        return tuple(2 * n for n in size)

    def needs(self, box: Box, size: Size) -> Box:
        """Neighbors on both sides, up to the end of the volume."""
        return tuple((max(0, (a - 1) // 2), min(n, b // 2 + 1)) for (a, b), n in zip(box, size, strict=True))

    def run(self, state: State, box: Box, size: Size) -> State:
        """PyTorch repeats the outermost voxel of what it gets; inside the volume those results are cut off."""
        have = tuple((2 * a, 2 * b) for a, b in self.needs(box, size))
        return State(crop(F.interpolate(state.main, scale_factor=2.0, mode="trilinear"), have, box))


@dataclass(frozen=True)
class TransposedConvolve:
    """Transposed convolution, kernel 3, stride 2, to twice the size: in[i] reaches out[2i−1], out[2i], out[2i+1]."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    def size(self, size: Size) -> Size:
        """Twice the input."""
        return tuple(2 * n for n in size)

    def needs(self, box: Box, size: Size) -> Box:
        """A neighbor behind for an odd last voxel."""
        return tuple((a // 2, min(n, b // 2 + 1)) for (a, b), n in zip(box, size, strict=True))

    def run(self, state: State, box: Box, size: Size) -> State:
        """Without padding the result begins at out[2i−1] of the first voxel i."""
        have = tuple((2 * a - 1, 2 * b) for a, b in self.needs(box, size))
        main = strided(F.conv_transpose3d, state.main, self.weight, self.bias)
        return State(crop(main, have, box))


@dataclass(frozen=True)
class Shrink:
    """Convolution, kernel 3, stride 2, after one voxel of zeros behind: out[j] needs in[2j], in[2j+1], in[2j+2]."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    def size(self, size: Size) -> Size:
        """Half of the input, rounded down."""
        return tuple(n // 2 for n in size)

    def needs(self, box: Box, size: Size) -> Box:
        """Up to the end of the volume."""
        return tuple((2 * a, min(n, 2 * b + 1)) for (a, b), n in zip(box, size, strict=True))

    def run(self, state: State, box: Box, size: Size) -> State:
        """Zeros stand in where the volume ends."""
        behind = [2 * b + 1 - stop for (_, b), (_, stop) in zip(box, self.needs(box, size), strict=True)]
        main = F.pad(state.main, [n for right in reversed(behind) for n in (0, right)])
        return State(strided(F.conv3d, main, self.weight, self.bias))


def decoder_layers(autoencoder: AutoencoderKlMaisi) -> list[Step]:
    """Latent (1, channels, x, y, z) → image (1, 1, …): what ``autoencoder.decode`` computes. Shares its weights.

    The last normalization and convolution run in float32: 8 or 11 bits are no match for 2000 HU.
    """
    layers = [_convolve(autoencoder.post_quant_conv), *_layers(autoencoder.decoder)]
    return _float32_at_the_end(layers)


def encoder_layers(autoencoder: AutoencoderKlMaisi) -> list[Step]:
    """Image (1, 1, X, Y, Z) → mean of the latent: the first of what ``autoencoder.encode`` returns."""
    return [*_layers(autoencoder.encoder), _convolve(autoencoder.quant_conv_mu)]


def _layers(half: nn.Module) -> list[Step]:
    layers: list[Step] = []
    for block in half.blocks:  # type: ignore[union-attr]
        if isinstance(block, MaisiConvolution):
            layers.append(_convolve(block))
        elif isinstance(block, MaisiGroupNorm3D):
            layers.append(_normalize(block, activation=False))
        elif isinstance(block, MaisiResBlock):
            shortcut = None if isinstance(block.nin_shortcut, nn.Identity) else _convolve(block.nin_shortcut)
            layers += [Fork(shortcut), _normalize(block.norm1, True), _convolve(block.conv1)]
            layers += [_normalize(block.norm2, True), _convolve(block.conv2), Join()]
        elif isinstance(block, MaisiUpsample):
            conv = plain_convolution(block)
            if block.use_convtranspose:
                layers.append(TransposedConvolve(conv.weight, conv.bias))
            else:
                layers += [Enlarge(), Convolve(conv.weight, conv.bias)]
        elif isinstance(block, MaisiDownsample):
            conv = plain_convolution(block)
            layers.append(Shrink(conv.weight, conv.bias))
        else:
            raise ModelError(
                f"An autoencoder with {type(block).__name__} cannot be decoded; use one without attention, as MAISI's."
            )
    return layers


def plain_convolution(module: nn.Module) -> nn.Conv3d | nn.ConvTranspose3d:
    """The one convolution inside MONAI's wrappers."""
    return next(m for m in module.modules() if isinstance(m, nn.Conv3d | nn.ConvTranspose3d))


def _convolve(module: nn.Module) -> Convolve:
    conv = plain_convolution(module)
    return Convolve(conv.weight, conv.bias)


def _normalize(norm: MaisiGroupNorm3D, activation: bool) -> Normalize:
    return Normalize(norm.weight.float(), norm.bias.float(), norm.num_groups, norm.eps, activation, norm.weight.dtype)


def _float32_at_the_end(layers: list[Step]) -> list[Step]:
    *before, norm, last = layers
    assert isinstance(norm, Normalize)
    assert isinstance(last, Convolve)
    norm = Normalize(norm.weight, norm.bias, norm.groups, norm.eps, norm.activation, torch.float32)
    return [*before, norm, Convolve(last.weight.float(), None if last.bias is None else last.bias.float())]
