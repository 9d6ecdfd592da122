"""From noise to a volume (Medical Diffusion, "Put it all together"): denoise, denormalize, nearest codes, decode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from SynthCTLib.medical_diffusion.codebook import from_unit
from SynthCTLib.medical_diffusion.factorized_unet import FactorizedUNet
from SynthCTLib.medical_diffusion.vqgan import VqGan
from SynthCTLib.progress import Progress
from SynthCTLib.scheduler import find_solver


@torch.inference_mode()
def sample_unit_latent(
    denoiser: FactorizedUNet,
    shape: tuple[int, ...],
    scheduler: Mapping[str, Any],
    seed: int,
    steps: int,
    solver: str = "ddpm",
    temperature: float = 1.0,
    progress: Progress | None = None,
) -> torch.Tensor:
    """A latent in [−1, 1] from Gaussian noise.

    Args:
        shape: (N, channels, depth, height, width) of the latent.
        scheduler: the card's settings; ``clip_sample`` keeps each estimate of the image within ±1.
        solver: ``ddpm`` takes all steps of the training, ``ddim`` few.
        temperature: standard deviation of the starting noise.

    The noise is drawn on the CPU, so that a seed means the same everywhere. Raises InputError, Cancelled.
    """
    progress = progress or Progress()
    device = next(denoiser.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(shape, generator=generator).to(device) * temperature

    def evaluate(x: torch.Tensor, time: float) -> torch.Tensor:
        return denoiser(x, torch.full((x.shape[0],), time, device=device)).float()

    progress.step("denoise", 0, steps)
    x = noise
    for number, x in enumerate(find_solver(solver)(evaluate, noise, steps, scheduler, generator), 1):  # noqa: B007
        progress.step("denoise", number, steps)
    return x.clamp(-1, 1)


@torch.inference_mode()
def decode_unit_latent(vqgan: VqGan, unit: torch.Tensor) -> torch.Tensor:
    """Latents in [−1, 1] → images (N, 1, D, H, W) in [−1, 1] on the CPU."""
    codebook = vqgan.codebook
    quantized = codebook.quantize(from_unit(unit.to(codebook.codes.device), *codebook.range()))
    return vqgan.decode(quantized).clamp(-1, 1).cpu()
