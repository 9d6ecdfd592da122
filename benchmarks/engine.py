"""SynthCT's engine on the same networks, mask and noise as the baseline in ``reference.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from benchmarks.full_size import MODEL, SPACING, Clock, noise, random_mask
from SynthCTLib.cards import load_card
from SynthCTLib.conditions import build_conditions
from SynthCTLib.decoder import decode
from SynthCTLib.device import device_and_dtype, inference_dtype
from SynthCTLib.embedding import embed_labels
from SynthCTLib.loading import load_networks
from SynthCTLib.sampler import sample_latent
from SynthCTLib.store import ModelStore


def run(
    models: Path, size: tuple[int, ...], steps: int, solver: str, device_name: str, decode_budget: int = 0
) -> tuple[float, dict[str, object]]:
    """Seconds for one CT of ``size`` without loading; the latent, and seconds and tiles of the decoder.

    ``models``: the folder of ``stored_networks``.
    """
    device = torch.device(device_name)
    dtype = inference_dtype(device)
    card = load_card(MODEL)
    networks = load_networks(card, ModelStore(models), device, dtype)
    mask = torch.from_numpy(random_mask(size))
    clock = Clock(device)
    latent = sample_latent(
        networks,
        embed_labels(networks.controlnet, mask),
        build_conditions(card.conditioning, SPACING),
        scheduler=card.scheduler,
        seed=0,
        steps=steps,
        solver=solver,
        noise=noise(size),
    )
    denoising = clock.look()
    decoded = decode(networks.autoencoder, latent, 1.0, budget=decode_budget or None)
    decoding = clock.look()
    found: dict[str, object] = {
        "latent": latent.cpu().numpy().astype(np.float32),
        "decode": decoded.how(),
        "precision": str(dtype).removeprefix("torch."),
        "decoder_precision": str(device_and_dtype(networks.autoencoder)[1]).removeprefix("torch."),
    }
    return denoising + decoding, found | {"denoise_seconds": denoising, "decode_seconds": decoding}
