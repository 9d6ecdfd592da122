"""Samples while training runs: fixed crops and fixed noise, decoded, beside the real crops."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi

from training.batches import Batch
from training.denoiser_network import Denoiser
from training.objectives import Objective

STEPS = 10


class SamplePictures:
    """Renders (rows of middle slices) what the model makes of a few fixed conditions."""

    def __init__(
        self, decoder: AutoencoderKlMaisi, batches: Sequence[Batch], objective: Objective, scale_factor: float
    ) -> None:
        """``decoder``: MAISI's autoencoder. ``batches``: all of one size; the first crop of each is drawn."""
        self.decoder, self.batches = decoder.eval(), batches
        self.objective, self.scale_factor = objective, scale_factor

    @torch.no_grad()
    def __call__(self, model: Denoiser, device: torch.device) -> list[torch.Tensor]:
        """Two rows of pictures (N, H, W) in [0, 1]: real crops through the autoencoder, and samples."""
        generator = torch.Generator().manual_seed(0)
        self.decoder.to(device)
        real, made = [], []
        for batch in self.batches:
            noise = torch.randn(batch.latent[:1].shape, generator=generator).to(device)
            mask = batch.mask[:1].to(device)
            conditions = {name: value[:1].to(device) for name, value in batch.conditions.items()}

            def evaluate(
                x: torch.Tensor,
                t: float,
                mask: torch.Tensor = mask,
                conditions: dict[str, torch.Tensor] = conditions,
            ) -> torch.Tensor:
                return model(x, torch.full((1,), t, device=device), mask, conditions).float()

            latent = self.objective.sample(evaluate, noise, STEPS, generator)
            real.append(self._slice(batch.latent[:1].to(device)))
            made.append(self._slice(latent))
        self.decoder.to("cpu")
        return [torch.stack(real), torch.stack(made)]

    def _slice(self, latent: torch.Tensor) -> torch.Tensor:
        """The middle axial slice of a latent's image."""
        with torch.autocast(latent.device.type, enabled=False):  # bfloat16 rounds HU too coarsely
            image = self.decoder.decode(latent.float() / self.scale_factor)[0, 0].cpu()
        return image[:, :, image.shape[2] // 2]
