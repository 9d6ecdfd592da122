"""Rectified flow (Liu et al., arXiv 2209.03003, equation 1; MAISI-v2, arXiv 2508.05772, with time running to noise).

x_t = (1 − t) x_0 + t ε; the network predicts the velocity toward the data, x_0 − ε.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.networks.schedulers import RFlowScheduler
from monai.networks.schedulers.rectified_flow import timestep_transform

from SynthCTLib.scheduler import Evaluate, find_solver
from training.times import TimeSettings, draw_unit_times


class RectifiedFlow:
    """The objective of the family *rflow*; ``scheduler`` are the settings in the model card, for RFlowScheduler."""

    copy_sign = -1.0
    """Near t = 1 the target is mostly −x_t."""

    def __init__(self, scheduler: Mapping[str, Any], times: TimeSettings) -> None:
        self.scheduler, self.times = scheduler, times
        flow = RFlowScheduler(**scheduler)
        self.total, self.base_voxels = float(flow.num_train_timesteps), flow.base_img_size_numel

    def draw_times(self, count: int, voxels: int, generator: torch.Generator) -> torch.Tensor:
        """(count,) times from 0 to ``num_train_timesteps``, for latents of that many voxels."""
        times = draw_unit_times(self.times, count, generator) * self.total
        if self.times.transform:
            times = timestep_transform(times, voxels, self.base_voxels, num_train_timesteps=int(self.total))
        return times

    def noisy(self, latent: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """x_t, all (N, C, x, y, z)."""
        t = (times / self.total).view(-1, 1, 1, 1, 1)
        return (1 - t) * latent + t * noise

    def target(self, latent: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """What the network has to predict: x_0 − ε."""
        return latent - noise

    def sample(self, evaluate: Evaluate, noise: torch.Tensor, steps: int, generator: torch.Generator) -> torch.Tensor:
        """A latent from noise (1, C, x, y, z), by the engine's Euler steps."""
        x = noise
        for latent in find_solver("euler")(evaluate, noise, steps, self.scheduler, generator):
            x = latent
        return x
