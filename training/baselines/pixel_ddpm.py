"""Pixel-space DDPM: MONAI's DiffusionModelUNet on whole volumes."""

from __future__ import annotations

import numpy as np
import torch

from training.baselines.fit import fit, normal
from training.baselines.method import Trained, Work
from training.baselines.noise_prediction import NoisePrediction, build_unet, sample
from training.scans import Scan


def train_pixel_ddpm(work: Work) -> Trained:
    """Train on volumes in −1…1, as the scheduler's clipping expects them."""
    s = work.settings
    unet = build_unet(s["unet"], work.device)

    def draw(rng: np.random.Generator) -> torch.Tensor:
        return work.volumes.draw(rng, s["batch"])[0] * 2 - 1

    phase = NoisePrediction("pixel-ddpm", unet, draw, s["scheduler"], s["lr"])
    spent = fit(phase, work, work.seconds)
    shape = tuple(work.volumes.unit.shape[1:])

    def make(_: Scan, seed: int) -> torch.Tensor:
        noise = normal(np.random.default_rng([work.seed, seed]), (1, *shape), work.device)
        return (sample(unet, noise, s["steps"], s["scheduler"])[0, 0] + 1) / 2

    return Trained(make, {"unet": spent})
