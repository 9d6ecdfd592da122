"""A starting point for the U-Net that already passes its input through.

Near t = 1 the target of rectified flow, x_0 − ε, is mostly −x_t, and that of DDPM, ε, mostly x_t, but a fresh U-Net has
to learn to carry every detail of x_t through group norms and nonlinearities to its output, which it is slow to learn.
Here the first convolution writes each latent channel twice, with both signs, the last residual block copies these
channels from the first skip, and the last convolution takes their difference: SiLU(a) − SiLU(−a) = a, and a norm group
of a and −a has mean 0. So the network starts at ±x_t / rms(x_t) per channel. The other channels start as MONAI makes
them.
"""

from __future__ import annotations

import torch
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi
from monai.networks.nets.diffusion_model_unet import DiffusionUNetResnetBlock
from torch import nn

from SynthCTLib.autoencoder_layers import plain_convolution
from SynthCTLib.errors import InputError


@torch.no_grad()
def copy_start(unet: DiffusionModelUNetMaisi, sign: float) -> None:
    """Make a fresh U-Net start as ``sign`` · x_t (rectified flow: −1, DDPM: 1).

    Raises InputError if the first width does not hold two channels per latent channel in norm groups of even size.
    """
    latent, width = unet.in_channels, unet.block_out_channels[0]
    norm = unet.out[0]
    assert isinstance(norm, nn.GroupNorm)
    if 2 * latent > width or (width // norm.num_groups) % 2:
        raise InputError(
            "'start' is 'copy', which needs network.unet.num_channels[0] ≥ 2 × latent channels and norm groups of even "
            "size; use 'random'."
        )
    for channel in range(latent):
        carry_latent(unet, channel, 2 * channel, sign)


@torch.no_grad()
def carry_latent(unet: DiffusionModelUNetMaisi, channel: int, row: int, sign: float) -> None:
    """Let the features ``row`` and ``row`` + 1 carry a latent channel to the output, as ``sign`` · x_t."""
    first, last = plain_convolution(unet.conv_in), plain_convolution(unet.out[2])
    block = [m for m in unet.up_blocks[-1].modules() if isinstance(m, DiffusionUNetResnetBlock)][-1]
    shortcut = plain_convolution(block.skip_connection)
    before = shortcut.weight.shape[1] - unet.block_out_channels[0]  # the skip follows the upsampled features
    for feature, branch in ((row, 1.0), (row + 1, -1.0)):
        for conv, source, center, value in (
            (first, channel, (1, 1, 1), branch),
            (shortcut, before + feature, (0, 0, 0), 1.0),
        ):
            conv.weight[feature] = 0
            conv.weight[(feature, source, *center)] = value
            if conv.bias is not None:
                conv.bias[feature] = 0
        last.weight[channel, feature, 1, 1, 1] = sign * branch
