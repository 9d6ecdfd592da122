"""DDPM (Ho et al., arXiv 2006.11239), the objective of MAISI-v1 (arXiv 2409.11169, section 3.2).

x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε (equation 4); the network predicts ε (L_simple, equation 14). ᾱ_t is the product of
1 − β up to t; β is MONAI's ``scaled_linear_beta`` from 0.0015 to 0.0195 in 1000 steps for MAISI-v1, and is read from
the model card, so that training and the engine's sampler (:mod:`SynthCTLib.scheduler`) have the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler

from SynthCTLib.errors import InputError
from SynthCTLib.scheduler import Evaluate
from training.times import TimeSettings, draw_unit_times


class Ddpm:
    """The objective of the family *ddpm*; ``scheduler`` are the settings in the model card, for DDPMScheduler."""

    copy_sign = 1.0
    """At high noise the target is mostly x_t."""

    def __init__(self, scheduler: Mapping[str, Any], times: TimeSettings) -> None:
        if times.method == "logit-normal" or times.transform:
            raise InputError("A ddpm model takes times.method 'stratified' or 'uniform' and no times.transform.")
        self.scheduler, self.times = scheduler, times
        self.chain = DDPMScheduler(**scheduler)
        self.total = self.chain.num_train_timesteps

    def draw_times(self, count: int, voxels: int, generator: torch.Generator) -> torch.Tensor:
        """(count,) steps of the chain, whole numbers from 0 to ``num_train_timesteps`` − 1, as float32."""
        return (draw_unit_times(self.times, count, generator) * self.total).floor().clamp_max(self.total - 1)

    def noisy(self, latent: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """x_t, all (N, C, x, y, z)."""
        return self.chain.add_noise(latent, noise, times.long())

    def target(self, latent: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """What the network has to predict: ε."""
        return noise

    def sample(self, evaluate: Evaluate, noise: torch.Tensor, steps: int, generator: torch.Generator) -> torch.Tensor:
        """A latent from noise (1, C, x, y, z) in a few steps, which the ancestral chain could not do.

        Deterministic DDIM (Song et al., arXiv 2010.02502, equation 12 with σ = 0).
        """
        chain = DDIMScheduler(**self.scheduler)
        chain.set_timesteps(min(steps, self.total))
        x = noise
        for t in chain.timesteps.tolist():
            x, _ = chain.step(evaluate(x, float(t)), t, x)
        return x
