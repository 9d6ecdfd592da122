"""DDPM as MONAI has it (Ho et al., NeurIPS 2020): a U-Net learns the noise in what its scheduler made noisy."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from monai.networks.schedulers import DDPMScheduler

from SynthCTLib.scheduler import ddim
from training.baselines.fit import descend, normal
from training.config import Config

Draw = Callable[[np.random.Generator], torch.Tensor]  # clean samples (n, c, x, y, z)


def build_unet(settings: Config, device: torch.device) -> DiffusionModelUNet:
    """MONAI's U-Net; channels last make it a seventh faster on a CPU."""
    unet = DiffusionModelUNet(spatial_dims=3, **settings).to(device)
    return unet.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


class NoisePrediction:
    """Phase of training: mean squared error of the predicted noise at random times (Ho et al., equation 14)."""

    constant_rate = False

    def __init__(self, name: str, unet: DiffusionModelUNet, draw: Draw, scheduler: dict[str, Any], lr: float) -> None:
        self.name, self.network, self.draw = name, unet, draw
        self.scheduler = DDPMScheduler(**scheduler)
        self.optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(unet.parameters(), lr=lr)]

    def step(self, rng: np.random.Generator) -> dict[str, float]:
        """One update."""
        clean = self.draw(rng)
        noise = normal(rng, tuple(clean.shape), clean.device)
        times = torch.from_numpy(rng.integers(0, self.scheduler.num_train_timesteps, len(clean))).to(clean.device)
        noisy = self.scheduler.add_noise(original_samples=clean, noise=noise, timesteps=times)
        loss = F.mse_loss(self.network(noisy, times), noise)
        descend(self.network, self.optimizers[0], loss)
        return {"loss": loss.item()}


@torch.inference_mode()
def sample(unet: DiffusionModelUNet, noise: torch.Tensor, steps: int, scheduler: dict[str, Any]) -> torch.Tensor:
    """From noise (1, c, x, y, z) to a sample by DDIM: the chain has 1000 steps, too many for whole volumes on a CPU."""

    def evaluate(x: torch.Tensor, time: float) -> torch.Tensor:
        return unet(x, torch.full((len(x),), int(time), device=x.device))

    return last(ddim(evaluate, noise, steps, scheduler, torch.Generator()))


def last(states: Iterator[torch.Tensor]) -> torch.Tensor:
    """The last of a solver's states."""
    return collections.deque(states, maxlen=1)[0]
