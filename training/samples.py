"""Samples while training runs: fixed crops and fixed noise, decoded, beside the real crops."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from SynthCTLib.networks import build_autoencoder
from training.config import Config
from training.files import load_checkpoint
from training.latents import LatentCrop


class SamplePictures:
    """Renders (rows of middle slices) what the model makes of a few fixed conditions."""

    def __init__(self, config: Config, crops: list[LatentCrop], steps: int = 10) -> None:
        self.crops, self.steps = crops, steps
        self.decoder = build_autoencoder(config["network"]["autoencoder"]).eval()
        state = load_checkpoint(Path(config["run"]) / "autoencoder.pt")
        if state is not None:
            self.decoder.load_state_dict(state["ema"]["shadow"])

    @torch.no_grad()
    def __call__(self, model: nn.Module, scale_factor: float, device: torch.device) -> list[torch.Tensor]:
        """Two rows of pictures (N, H, W) in [0, 1]: real crops through the autoencoder, and samples."""
        generator = torch.Generator().manual_seed(0)
        real: list[torch.Tensor] = []
        made: list[torch.Tensor] = []
        for crop in self.crops:
            x = torch.randn(crop.latent.shape, generator=generator).to(device)
            mask, spacing = crop.mask.to(device), crop.spacing.to(device)
            modality = torch.ones(1, dtype=torch.long, device=device)
            for step in range(self.steps):
                time = torch.full((1,), 1000.0 * (1 - step / self.steps), device=device)
                x = x + model(x, time, mask, spacing, modality).float() / self.steps
            for rows, latent in ((real, crop.latent), (made, x.cpu())):
                image = self.decoder.decode(latent / scale_factor)[0, 0]
                rows.append(image[:, :, image.shape[2] // 2])
        return [torch.stack(real), torch.stack(made)]
