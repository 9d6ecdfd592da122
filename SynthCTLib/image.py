"""Latent → image as a model gives it: decoded, and refined by the mask if the model has a refiner."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from SynthCTLib.decoder import Decoded, decode
from SynthCTLib.networks import Networks
from SynthCTLib.progress import Progress
from SynthCTLib.refiner import refine


def latent_to_image(
    networks: Networks, latent: torch.Tensor, labels: np.ndarray, progress: Progress | None = None
) -> Decoded:
    """The image of a latent.

    Args:
        latent: (1, channels, x, y, z) as sampled. labels: (X, Y, Z), the mask it was sampled from.

    Raises what :func:`SynthCTLib.decoder.decode` raises.
    """
    decoded = decode(networks.autoencoder, latent, networks.scale_factor, progress=progress)
    if networks.refiner is None:
        return decoded
    return replace(decoded, unit=refine(networks.refiner, decoded.unit, labels, progress))
