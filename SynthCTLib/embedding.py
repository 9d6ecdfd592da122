"""Label map → ControlNet's conditioning embedding, tile by tile.

The embedding is a chain of convolutions at full image resolution (MAISI, arXiv 2409.11169, section 3.3) and does not
depend on the step, so it is computed once per CT. It has no normalization, so a tile with a margin gives the whole. The
label map itself is cut, so that its eight or nine channels never exist for a whole volume (4 GB for 512³).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from monai.apps.generation.maisi.networks.controlnet_maisi import ControlNetMaisi

from SynthCTLib.autoencoder_layers import Box, Convolve, SameSize, Size, State, Step, plain_convolution
from SynthCTLib.conditioning import encode_mask
from SynthCTLib.device import device_and_dtype, memory_advice
from SynthCTLib.errors import InputError
from SynthCTLib.progress import Progress
from SynthCTLib.seamless import Cut, run_seamless

STAGE = "embed"
TILE = 128
"""Longest side of a tile, in voxels of the label map."""


@dataclass(frozen=True)
class Encode(SameSize):
    """Label ids (1, 1, x, y, z) → channels of :func:`encode_mask` on the network's device."""

    hu_prior: Mapping[str, float] | None
    device: torch.device
    dtype: torch.dtype

    def run(self, state: State, box: Box, size: Size) -> State:
        """Ids stay integer until here."""
        channels = encode_mask(state.main[:, 0].to(self.device), self.hu_prior).to(self.dtype)
        return State(channels.contiguous(memory_format=torch.channels_last_3d))


class Activate(SameSize):
    """SiLU."""

    def run(self, state: State, box: Box, size: Size) -> State:
        """In place; what comes in is fresh from a convolution."""
        return State(F.silu(state.main, inplace=True))


@dataclass(frozen=True)
class Halve:
    """Convolution with kernel 3, stride 2 and one voxel of padding: out[j] needs in[2j−1], in[2j], in[2j+1]."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    def size(self, size: Size) -> Size:
        """Half of the input, rounded up."""
        return tuple((n + 1) // 2 for n in size)

    def needs(self, box: Box, size: Size) -> Box:
        """One voxel more in front, up to the ends of the volume."""
        return tuple((max(0, 2 * a - 1), min(n, 2 * b)) for (a, b), n in zip(box, size, strict=True))

    def run(self, state: State, box: Box, size: Size) -> State:
        """Zeros stand in where the volume ends."""
        missing = [(int(a == 0), max(0, 2 * b - n)) for (a, b), n in zip(box, size, strict=True)]
        main = F.pad(state.main, [n for pair in reversed(missing) for n in pair])
        return State(F.conv3d(main, self.weight, self.bias, stride=2))


def embedding_layers(controlnet: ControlNetMaisi, hu_prior: Mapping[str, float] | None) -> list[Step]:
    """The chain from label ids to the embedding; shares ControlNet's weights."""
    device, dtype = device_and_dtype(controlnet)
    embedding = controlnet.controlnet_cond_embedding
    layers: list[Step] = [Encode(hu_prior, device, dtype)]
    for block in (embedding.conv_in, *embedding.blocks):
        conv = plain_convolution(block)
        kind = Halve if conv.stride[0] == 2 else Convolve
        layers += [kind(conv.weight, conv.bias), Activate()]
    last = plain_convolution(embedding.conv_out)
    return [*layers, Convolve(last.weight, last.bias)]


def embed_labels(
    controlnet: ControlNetMaisi,
    labels: torch.Tensor,
    hu_prior: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> torch.Tensor:
    """The conditioning embedding of a label map.

    Args:
        controlnet: in evaluation mode; its device and number format are used.
        labels: (X, Y, Z) integer, MAISI ids, axes RAS, any device.
        hu_prior: as for :func:`encode_mask`; from the model card.
        progress: told after each tile (stage "embed"); cancels between tiles.

    Returns:
        (1, width, X/4, Y/4, Z/4) for ControlNet's usual two halvings.

    Raises InputError for a side that cannot be halved as often as the network does, ResourceError if memory runs out,
    Cancelled.
    """
    progress = progress or Progress()
    device, _ = device_and_dtype(controlnet)
    grid = "×".join(str(n) for n in labels.shape)
    advice = f"Memory does not suffice for a grid of {grid} on '{device}'; use a smaller --size or --device cpu."
    layers = embedding_layers(controlnet, hu_prior)
    down = 2 ** sum(isinstance(layer, Halve) for layer in layers)
    if any(n % down or n == 0 for n in labels.shape):
        raise InputError(f"The grid {grid} does not fit the model, whose sides are multiples of {down}; use --size.")
    cut = Cut(tuple(-(-n // TILE) for n in labels.shape))
    with memory_advice(advice):
        progress.step(STAGE, 0, cut.number)
        return run_seamless(layers, labels[None, None], cut, (), lambda done, of: progress.step(STAGE, done, of))
