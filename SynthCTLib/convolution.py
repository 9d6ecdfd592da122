"""A convolution with zeros around its input, by the fastest way for the device, the number format and the widths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import nn

from SynthCTLib import winograd

Zeros = Sequence[tuple[int, int]]
"""Voxels of zeros in front of and behind the input, per axis."""

SLAB = 1 << 22
"""Values that are converted at once where a CPU computes in float32 for half precision: 16 MB."""


def convolve(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    zeros: Zeros,
    transformed: Callable[[], torch.Tensor] | None = None,
) -> torch.Tensor:
    """(1, C, x, y, z), channels last → (1, C', …) in the number format of the weights.

    ``transformed`` gives the kernels for Winograd's method, where they are kept.
    """
    size = size_behind(x.shape[2:], weight, zeros)
    if winograd.suits(weight, size):
        kernels = winograd.transformed(weight) if transformed is None else transformed()
        return winograd.convolve(x, kernels, bias, [before for before, _ in zeros], size, weight.dtype)
    if in_float32(weight):
        return _by_slabs(x, weight, bias, zeros, size)
    return _directly(x.to(weight.dtype), weight, bias, zeros)


def has_a_voxel_of_zeros_around(layer: nn.Conv3d) -> bool:
    """Whether the layer convolves an image with one voxel of zeros around it, and nothing else is unusual."""
    return (
        layer.stride == (1, 1, 1)
        and layer.padding == (1, 1, 1)
        and layer.padding_mode == "zeros"
        and layer.dilation == (1, 1, 1)
        and layer.groups == 1
    )


def strided(
    kind: Callable[..., torch.Tensor], x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """``F.conv3d`` or ``F.conv_transpose3d`` with a stride of 2, in the number format of the weights."""
    if in_float32(weight):
        return kind(x.float(), weight.float(), None if bias is None else bias.float(), stride=2).to(weight.dtype)
    return kind(x.to(weight.dtype), weight, bias, stride=2)


def size_behind(size: Sequence[int], weight: torch.Tensor, zeros: Zeros) -> tuple[int, ...]:
    """Size of the output."""
    return tuple(n + a + b - k + 1 for n, (a, b), k in zip(size, zeros, weight.shape[2:], strict=True))


def in_float32(weight: torch.Tensor) -> bool:
    """Whether float16 only is how numbers are stored: CPUs without instructions for it are slow in it."""
    return weight.device.type == "cpu" and weight.dtype is torch.float16


def kept(weight: torch.Tensor, size: Sequence[int]) -> int:
    """Bytes of what is made of the weights once for all outputs of this ``size``."""
    return winograd.kernel_bytes(weight) if winograd.suits(weight, size) else 0


def scratch(weight: torch.Tensor, size: Sequence[int]) -> int | None:
    """Bytes that an output of ``size`` takes beside it; None where that is a copy of the input, if it needs padding."""
    if winograd.suits(weight, size):
        return winograd.scratch(weight, size)
    if in_float32(weight):
        plane = prod(size[1:]) * sum(weight.shape[:2])
        return 4 * max(SLAB, 3 * plane)
    return None


def _directly(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, zeros: Zeros) -> torch.Tensor:
    """PyTorch pads both sides alike; sides that differ are padded before."""
    alike = [before if before == behind else 0 for before, behind in zeros]
    uneven = [(0, 0) if p else pair for p, pair in zip(alike, zeros, strict=True)]
    if any(map(any, uneven)):
        x = F.pad(x, [n for pair in reversed(uneven) for n in pair])
    return F.conv3d(x, weight, bias, padding=alike)


def _by_slabs(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, zeros: Zeros, size: Sequence[int]
) -> torch.Tensor:
    """A few planes at a time, computed in float32."""
    result = torch.empty((1, len(weight), *size), dtype=weight.dtype, memory_format=torch.channels_last_3d)
    exact, shift = weight.float(), None if bias is None else bias.float()
    reach, before, have = weight.shape[2] - 1, zeros[0][0], x.shape[2]
    planes = max(1, SLAB // (prod(size[1:]) * sum(weight.shape[:2])) - reach)
    for first in range(0, size[0], planes):
        start, stop = first - before, min(first + planes, size[0]) + reach - before
        piece = x[:, :, max(0, start) : min(have, stop)].float()
        around = [(max(0, -start), max(0, stop - have)), *zeros[1:]]
        result[:, :, first : first + planes] = (
            _directly(piece, exact, shift, around) if reach else _voxel_by_voxel(piece, exact, shift)
        )
    return result


def _voxel_by_voxel(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """A kernel of 1×1×1 is a matrix multiplication, for which PyTorch may choose a slow convolution."""
    return F.linear(x.permute(0, 2, 3, 4, 1), weight.flatten(1), bias).permute(0, 4, 1, 2, 3)
