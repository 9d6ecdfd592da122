"""A starting point for the autoencoder that already compresses: principal components of 4×4×4 blocks.

GroupNorm removes absolute intensity, which is what HU are, and a random deep chain of convolutions and norms is slow to
learn even to copy a constant. Here every residual branch starts at zero, so that the networks are
chains of linear maps; the encoder's chain computes the leading principal components of each block, the decoder's
inverts them, and half of the channels of each level hold constants (anchors), next to which GroupNorm's
statistics, and with them absolute intensity, hardly change. All of it is trained further.

Components are divided by the root of their standard deviation (relative to the first): finer ones stay smaller, so that
diffusion settles coarse structure first, as it does in images.
"""

from __future__ import annotations

import itertools

import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import (
    AutoencoderKlMaisi,
    MaisiDownsample,
    MaisiGroupNorm3D,
    MaisiResBlock,
    MaisiUpsample,
)
from torch import nn

from SynthCTLib.autoencoder_layers import plain_convolution
from SynthCTLib.errors import InputError

ANCHOR = 4.0
BLOCK = 4


Components = tuple[torch.Tensor, torch.Tensor]
"""(count, 4, 4, 4) orthogonal weights and (count,) offsets: component = ⟨weights, block⟩ + offset."""


def block_components(
    patches: torch.Tensor, count: int, known: torch.Tensor | None = None, first_deviation: torch.Tensor | None = None
) -> Components:
    """Leading principal components of 4³ blocks; the first has unit variance, finer ones less (see above).

    Args:
        patches: (N, 1, P, P, P) in [0, 1], P a multiple of 4.
        known: (64, k) orthonormal directions that are taken already; then ``first_deviation`` is that of the first.

    """
    blocks = patches[:, 0].unfold(1, BLOCK, BLOCK).unfold(2, BLOCK, BLOCK).unfold(3, BLOCK, BLOCK)
    flat = blocks.reshape(-1, BLOCK**3)
    mean = flat.mean(0)
    centered = flat - mean
    if known is not None:
        centered = centered - centered @ known @ known.T
    _, values, vectors = torch.linalg.svd(centered, full_matrices=False)
    deviation = values[:count, None] / len(flat) ** 0.5
    weights = vectors[:count] / (deviation * (deviation[0] if first_deviation is None else first_deviation)).sqrt()
    return weights.reshape(count, BLOCK, BLOCK, BLOCK), -(weights @ mean)


def weight_and_bias(module: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Parameters of the one convolution inside MONAI's wrappers; the weight's first axis is the output channel."""
    conv = plain_convolution(module)
    assert conv.bias is not None
    weight = conv.weight.transpose(0, 1) if isinstance(conv, nn.ConvTranspose3d) else conv.weight
    return weight, conv.bias


def anchor(module: nn.Module, carried: int) -> None:
    """Rows below ``carried`` copy their input channel (center tap); the upper half of the rows holds constants."""
    weight, bias = weight_and_bias(module)
    outputs, inputs = weight.shape[:2]
    center = tuple(k // 2 for k in weight.shape[2:])
    weight.mul_(0.3)
    bias.zero_()
    for row in range(min(carried, inputs, outputs)):
        weight[row] = 0
        weight[(row, row, *center)] = 1
    weight[outputs // 2 :] *= 0.1
    bias[outputs // 2 :] = ANCHOR * torch.tensor([1.0, -1.0]).repeat(outputs)[: outputs - outputs // 2]


def blocks_of(half: nn.Module) -> list[nn.Module]:
    """The blocks of MONAI's encoder or decoder, in order."""
    blocks = half.blocks
    assert isinstance(blocks, nn.ModuleList)
    return list(blocks)


def silence_residuals(model: nn.Module) -> None:
    """Residual branches start at zero."""
    for block in model.modules():
        if isinstance(block, MaisiResBlock):
            for parameter in weight_and_bias(block.conv2):
                nn.init.zeros_(parameter)


def anchor_norm(blocks: list[nn.Module]) -> None:
    """The last norm divides by what the anchors contribute; its weight takes that back."""
    norm = next(b for b in reversed(blocks) if isinstance(b, MaisiGroupNorm3D))
    norm.weight.fill_(ANCHOR / 2**0.5)


@torch.no_grad()
def start_encoder(model: AutoencoderKlMaisi, components: Components) -> None:
    """Voxel → 8 corners of a 2³ block → components of a 4³ block → norm → latent."""
    latent = model.latent_channels
    weights, offsets = components
    blocks = blocks_of(model.encoder)
    anchor(blocks[0], 1)
    for block in blocks:
        if isinstance(block, MaisiResBlock) and block.in_channels != block.out_channels:
            anchor(block.nin_shortcut, max(8, latent))
        if isinstance(block, MaisiDownsample):
            anchor(block, 0)
    first, second = (weight_and_bias(b) for b in blocks if isinstance(b, MaisiDownsample))
    corners = list(itertools.product(range(2), repeat=3))
    for row, corner in enumerate(corners):
        first[0][row] = 0
        first[0][(row, 0, *corner)] = 1
    for row in range(latent):
        second[0][row] = 0
        second[1][row] = offsets[row]
        for channel, (i, j, k) in enumerate(corners):
            second[0][row, channel, :2, :2, :2] = weights[row, i::2, j::2, k::2]
    anchor_norm(blocks)
    weight, bias = weight_and_bias(blocks[-1])
    bias.zero_()
    weight.mul_(0.02)
    for row in range(latent):
        weight[row, row, 1, 1, 1] += 1
    for module in (model.quant_conv_mu, model.post_quant_conv):
        weight, bias = weight_and_bias(module)
        bias.zero_()
        weight.zero_()
        for row in range(latent):
            weight[row, row] = 1
    weight, bias = weight_and_bias(model.quant_conv_log_sigma)
    weight.zero_()
    bias.fill_(-6.0)  # standard deviation 0.05 beside latents of 1


@torch.no_grad()
def start_decoder(model: AutoencoderKlMaisi, components: Components, mean: float) -> None:
    """Latent → 8 corners of each 2³ block → voxel: the inverse of the encoder's start.

    A transposed convolution (kernel 3, stride 2, padding 1) writes tap 1 to even and tap 2 to odd positions, so that
    these taps can hold any map from a voxel to a 2³ block. ``mean``: of all voxels.

    Raises InputError for a decoder that interpolates instead.
    """
    weights, _ = components
    flat = weights.flatten(1)
    inverse = (flat / flat.square().sum(1, keepdim=True)).reshape(weights.shape)  # rows of ``weights`` are orthogonal
    blocks = blocks_of(model.decoder)
    anchor(blocks[0], model.latent_channels)
    for block in blocks:
        if isinstance(block, MaisiResBlock) and block.in_channels != block.out_channels:
            anchor(block.nin_shortcut, 8)
        if isinstance(block, MaisiUpsample):
            if not block.use_convtranspose:
                raise InputError("The linear start needs network.autoencoder.use_convtranspose: true.")
            anchor(block, 0)
    first, second = (weight_and_bias(b) for b in blocks if isinstance(b, MaisiUpsample))
    corners = list(itertools.product(range(2), repeat=3))
    first[0][:8] = 0
    first[1][:8] = mean
    second[0][0] = 0
    for channel, (i, j, k) in enumerate(corners):
        for row in range(model.latent_channels):
            first[0][channel, row, 1:, 1:, 1:] = inverse[row, i::2, j::2, k::2]
        second[0][(0, channel, i + 1, j + 1, k + 1)] = 1
    anchor_norm(blocks)
    weight, bias = weight_and_bias(blocks[-1])
    weight.mul_(0.02)
    bias.zero_()
    half = weight.shape[1] // 2
    weight[0, 0, 1, 1, 1] = 1
    weight[0, half : half + 2, 1, 1, 1] = -0.5  # a pair of anchors: what the norm subtracted from all channels


def linear_start(model: AutoencoderKlMaisi, patches: torch.Tensor, components: Components | None = None) -> None:
    """Initialize both halves from real patches (N, 1, P, P, P) in [0, 1] and their components, or the given ones."""
    components = components or block_components(patches, model.latent_channels)
    silence_residuals(model)
    start_encoder(model, components)
    start_decoder(model, components, float(patches.mean()))
    calibrate(model, patches[:8])


@torch.no_grad()
def calibrate(model: AutoencoderKlMaisi, patches: torch.Tensor) -> None:
    """Scale and shift the last convolution so that the output fits the patches best (least squares)."""
    mu, _ = model.encode(patches)
    output = model.decode(mu).flatten().double()
    target = patches.flatten().double()
    gain = torch.cov(torch.stack([output, target]))[0, 1] / output.var()
    weight, bias = weight_and_bias(blocks_of(model.decoder)[-1])
    weight.mul_(gain.float())
    bias.mul_(gain.float()).add_((target.mean() - gain * output.mean()).float())
