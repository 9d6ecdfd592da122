"""A starting point for the autoencoder that already compresses: principal components of 4×4×4 blocks.

GroupNorm removes absolute intensity, which is what HU are, and a random deep chain of convolutions and norms needs many
thousand steps before it can even copy a constant. Here every residual branch starts at zero, so that the networks are
chains of linear maps; the encoder's chain computes the leading principal components of each block, the decoder's
interpolates them, and half of the channels of each level hold constants (anchors), next to which GroupNorm's statistics,
and with them absolute intensity, hardly change. All of it is trained further.

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

ANCHOR = 4.0
BLOCK = 4


def block_components(patches: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Leading principal components of 4³ blocks; the first has unit variance, finer ones less (see above).

    Args:
        patches: (N, 1, P, P, P) in [0, 1], P a multiple of 4.

    Returns:
        (count, 4, 4, 4) weights and (count,) offsets: component = ⟨weights, block⟩ + offset.
    """
    blocks = patches[:, 0].unfold(1, BLOCK, BLOCK).unfold(2, BLOCK, BLOCK).unfold(3, BLOCK, BLOCK)
    flat = blocks.reshape(-1, BLOCK**3)
    mean = flat.mean(0)
    _, values, vectors = torch.linalg.svd(flat - mean, full_matrices=False)
    deviation = values[:count, None] / len(flat) ** 0.5
    weights = vectors[:count] / (deviation * deviation[0]).sqrt()
    return weights.reshape(count, BLOCK, BLOCK, BLOCK), -(weights @ mean)


def convolution(module: nn.Module) -> nn.Conv3d:
    """The one convolution inside MONAI's wrappers."""
    return next(m for m in module.modules() if isinstance(m, nn.Conv3d))


def anchor(conv: nn.Conv3d, carried: int) -> None:
    """Rows below ``carried`` copy their input channel (center tap); the upper half of the rows holds constants."""
    outputs, inputs = conv.weight.shape[:2]
    center = tuple(k // 2 for k in conv.kernel_size)
    conv.weight.mul_(0.3)
    conv.bias.zero_()
    for row in range(min(carried, inputs, outputs)):
        conv.weight[row] = 0
        conv.weight[(row, row, *center)] = 1
    conv.weight[outputs // 2:] *= 0.1
    conv.bias[outputs // 2:] = ANCHOR * torch.tensor([1.0, -1.0]).repeat(outputs)[: outputs - outputs // 2]


def silence_residuals(model: nn.Module) -> None:
    """Residual branches start at zero."""
    for block in model.modules():
        if isinstance(block, MaisiResBlock):
            last = convolution(block.conv2)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)


@torch.no_grad()
def start_encoder(model: AutoencoderKlMaisi, patches: torch.Tensor) -> None:
    """Voxel → 8 corners of a 2³ block → components of a 4³ block → norm → latent."""
    latent = model.latent_channels
    weights, offsets = block_components(patches, latent)
    blocks = list(model.encoder.blocks)
    streams = [b for b in blocks if isinstance(b, MaisiDownsample)]
    for block in blocks:
        if isinstance(block, MaisiResBlock) and block.in_channels != block.out_channels:
            anchor(convolution(block.nin_shortcut), 8)
    first, second = convolution(streams[0]), convolution(streams[1])
    anchor(convolution(blocks[0]), 1)
    anchor(first, 0)
    anchor(second, 0)
    corners = list(itertools.product(range(2), repeat=3))
    for row, corner in enumerate(corners):
        first.weight[row] = 0
        first.weight[(row, 0, *corner)] = 1
    for row in range(latent):
        second.weight[row] = 0
        second.bias[row] = offsets[row]
        for channel, (i, j, k) in enumerate(corners):
            second.weight[row, channel, :2, :2, :2] = weights[row, i::2, j::2, k::2]
    norm = next(b for b in reversed(blocks) if isinstance(b, MaisiGroupNorm3D))
    norm.weight.fill_(ANCHOR / 2**0.5)
    last = convolution(blocks[-1])
    last.bias.zero_()
    last.weight *= 0.02
    for row in range(latent):
        last.weight[row, row, 1, 1, 1] += 1
    for name in ("quant_conv_mu", "post_quant_conv"):
        conv = convolution(getattr(model, name))
        conv.bias.zero_()
        conv.weight.zero_()
        for row in range(latent):
            conv.weight[row, row] = 1
    sigma = convolution(model.quant_conv_log_sigma)
    sigma.weight.zero_()
    sigma.bias.fill_(-6.0)  # standard deviation 0.05 beside latents of 1


@torch.no_grad()
def start_decoder(model: AutoencoderKlMaisi, patches: torch.Tensor) -> None:
    """Components are interpolated up to full resolution; the first one, the block's mean, becomes the image."""
    weights, offsets = block_components(patches, model.latent_channels)
    blocks = list(model.decoder.blocks)
    anchor(convolution(blocks[0]), model.latent_channels)
    for block in blocks:
        if isinstance(block, MaisiResBlock) and block.in_channels != block.out_channels:
            anchor(convolution(block.nin_shortcut), 8)
        if isinstance(block, MaisiUpsample):
            anchor(convolution(block), 8)
    norm = next(b for b in reversed(blocks) if isinstance(b, MaisiGroupNorm3D))
    norm.weight.fill_(ANCHOR / 2**0.5)
    last = convolution(blocks[-1])
    last.weight *= 0.02
    last.weight[0, 0, 1, 1, 1] = 1 / weights[0].sum()
    last.bias.fill_(float(-offsets[0] / weights[0].sum()))


def linear_start(model: AutoencoderKlMaisi, patches: torch.Tensor) -> None:
    """Initialize both halves from real patches (N, 1, P, P, P) in [0, 1]."""
    silence_residuals(model)
    start_encoder(model, patches)
    start_decoder(model, patches)
