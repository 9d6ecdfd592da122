"""Image → latent through the encoder, in tiles where memory asks for it, with the result of one piece.

Sampling never needs it; judging an autoencoder and training on large volumes do. See ``decoder`` for how tiles work.
"""

from __future__ import annotations

import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi

from SynthCTLib.autoencoder_layers import encoder_layers
from SynthCTLib.decoder import MEMORY_SHARE
from SynthCTLib.device import device_and_dtype, total_memory
from SynthCTLib.memory_plan import make_plan
from SynthCTLib.seamless import run_seamless


def encode_image(autoencoder: AutoencoderKlMaisi, unit: torch.Tensor, budget: int | None = None) -> torch.Tensor:
    """Mean of the latent, not multiplied by the scale factor.

    Args:
        autoencoder: in eval mode; its device and number format are used.
        unit: (X, Y, Z) in [0, 1], sides multiples of the downsampling, any device.
        budget: bytes that encoding may take on the device; None: a share of its memory.

    Returns:
        (1, channels, x, y, z) on the autoencoder's device.

    Raises ModelError for layers that cannot be tiled.
    """
    device, dtype = device_and_dtype(autoencoder)
    layers = encoder_layers(autoencoder)
    size = tuple(unit.shape)
    plan = make_plan(layers, size, 1, dtype, budget or int(total_memory(device) * MEMORY_SHARE))
    return run_seamless(layers, unit[None, None].to(device, dtype), plan.cut, plan.kept)
