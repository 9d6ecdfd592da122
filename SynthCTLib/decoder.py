"""Latent → image through the decoder, in one piece where memory allows and in tiles where not, with the same result.

:func:`decode` is the whole interface. The layers are those of :mod:`autoencoder_layers`, :mod:`seamless` runs them and
:mod:`memory_plan` says in which tiles. How it is cut is decided by the memory that the machine has in all, not by what
else runs on it, so that one seed gives the same bits; other tiles, taken when memory runs out, differ by rounding only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi

from SynthCTLib.autoencoder_layers import decoder_layers
from SynthCTLib.device import device_and_dtype, free_memory, is_out_of_memory, total_memory
from SynthCTLib.errors import ResourceError
from SynthCTLib.memory_plan import Plan, make_plan
from SynthCTLib.progress import Progress
from SynthCTLib.seamless import run_seamless

STAGE = "decode"

MEMORY_SHARE = 0.6
"""Share of a device's memory that decoding may take; the rest is for weights and other programs."""

FREE_SHARE = 0.9
"""Share of the memory that is free at the moment that decoding may take."""


@dataclass(frozen=True)
class Decoded:
    """A decoded image and how it was cut: ``unit``: (X, Y, Z) float32 in [0, 1], X = x · downsampling.

    ``reduced``: more tiles than this machine's memory in all allows, because too little of it was free. ``dtype``: the
    decoder's number format, which need not be the denoiser's.
    """

    unit: np.ndarray
    plan: Plan
    reduced: bool
    dtype: torch.dtype

    def how(self) -> dict[str, Any]:
        """How it was cut, as plain values for the report."""
        return {
            "tiles": list(self.plan.cut.counts),
            "memory_mb": round(self.plan.peak / 1e6),
            "reduced": self.reduced,
            "precision": str(self.dtype).removeprefix("torch."),
        }


def decode_latent(
    autoencoder: AutoencoderKlMaisi,
    latent: torch.Tensor,
    scale_factor: float,
    *,
    budget: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """The image alone, (X, Y, Z) float32 in [0, 1], of :func:`decode`."""
    return decode(autoencoder, latent, scale_factor, budget=budget, progress=progress).unit


def decode(
    autoencoder: AutoencoderKlMaisi,
    latent: torch.Tensor,
    scale_factor: float,
    *,
    budget: int | None = None,
    progress: Progress | None = None,
) -> Decoded:
    """Decode a latent.

    Args:
        autoencoder: in eval mode; its device and number format are used.
        latent: (1, channels, x, y, z) as sampled, any device.
        scale_factor: what the latent was multiplied by before diffusion; it is divided by it here.
        budget: bytes that decoding may take on the device; None: a share of its memory.
        progress: told after each tile of each sweep (stage "decode"); cancels between tiles.

    When memory runs out, half of it is planned with and decoding starts again. Raises ResourceError if that does not
    help, ModelError for layers that cannot be tiled, Cancelled.
    """
    progress = progress or Progress()
    device, dtype = device_and_dtype(autoencoder)
    layers = decoder_layers(autoencoder)
    # Divided in float32: a half-precision latent could overflow for small scale factors.
    x = (latent.to(device, torch.float32) / scale_factor).to(dtype)
    size, channels = tuple(latent.shape[2:]), int(latent.shape[1])

    def planned(most: int) -> Plan:
        return make_plan(layers, size, channels, dtype, most)

    plan = planned(budget or int(total_memory(device) * MEMORY_SHARE))
    free = int(free_memory(device) * FREE_SHARE)
    reduced = plan.peak > free
    if reduced:
        plan = planned(free)
    while True:
        try:
            progress.step(STAGE, 0, 1)
            output = run_seamless(layers, x, plan.cut, plan.kept, lambda done, of: progress.step(STAGE, done, of))
            image = output[0, 0].to("cpu", torch.float32).numpy()
            return Decoded(np.clip(image, 0.0, 1.0, out=image), plan, reduced, dtype)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            smaller = planned(plan.peak // 2)
            if smaller.peak >= plan.peak:
                raise ResourceError(
                    "Memory does not suffice to decode the image even in small tiles; use a smaller --size, close "
                    "other programs or choose --device cpu."
                ) from error
        # Outside of the handler, whose traceback keeps the failed tile's tensors alive.
        plan, reduced = smaller, True
        _release_cached(device)


def _release_cached(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
