"""HA-GAN, trained as its paper says (arXiv 2008.01910, section III-C): both heads have a discriminator, and of the two
encoders one reconstructs a slab, the other slab and coarse volume, with L1.

The paper minimizes adversarial and reconstruction terms over generator and encoders together; its released code updates
only the encoders by reconstruction. Here it is the paper's sum, in one step.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from training.baselines.fit import fit, normal
from training.baselines.ha_gan_networks import DOWN, CodeEncoder, Discriminator, Encoder, Generator, coarse
from training.baselines.method import Trained, Work
from training.scans import Scan

BETAS = (0.0, 0.999)


def real_or_not(logits: torch.Tensor, real: bool) -> torch.Tensor:
    """Cross-entropy with what the discriminator should say."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


class HierarchicalGan:
    """Phase of training: one step for the discriminators, one for generator and encoders."""

    name = "ha-gan"
    constant_rate = True

    def __init__(self, work: Work) -> None:
        s = work.settings
        self.work, self.code, self.slab, self.batch = work, s["code"], s["slab"], s["batch"]
        self.weight = s["reconstruction_weight"]
        x, y, z = self.shape = tuple(work.volumes.unit.shape[2:])
        self.generator = Generator(self.shape, s["code"], s["width"])
        self.encoder, self.code_encoder = Encoder(s["width"]), CodeEncoder(self.shape, s["code"], s["width"])
        self.fine_critic = Discriminator((x, y, self.slab), s["critic_levels"], s["critic_width"], extra=1)
        low = (x // DOWN, y // DOWN, z // DOWN)
        self.coarse_critic = Discriminator(low, s["coarse_critic_levels"], 2 * s["critic_width"], extra=0)
        self.network = nn.ModuleList(
            [self.generator, self.encoder, self.code_encoder, self.fine_critic, self.coarse_critic]
        ).to(work.device)
        makers = [{"params": m.parameters()} for m in (self.generator, self.encoder, self.code_encoder)]
        critics = [{"params": m.parameters()} for m in (self.fine_critic, self.coarse_critic)]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Adam(makers, lr=s["lr"], betas=BETAS),
            torch.optim.Adam(critics, lr=s["critic_lr"], betas=BETAS),
        ]

    def step(self, rng: np.random.Generator) -> dict[str, float]:
        """One update of all networks; slabs start at a multiple of four voxels."""
        volume = self.work.volumes.draw(rng, self.batch)[0] * 2 - 1
        first = int(rng.integers(0, (self.shape[2] - self.slab) // DOWN + 1)) * DOWN
        slab, low = volume[..., first : first + self.slab], coarse(volume)
        with torch.no_grad():
            made_slab, made_low = self._make(self._codes(rng), first)
        critic = self._verdict(slab, low, first, True) + self._verdict(made_slab, made_low, first, False)
        self._update(1, critic)
        made_slab, made_low = self._make(self._codes(rng), first)
        adversarial = self._verdict(made_slab, made_low, first, True)
        features = self.encoder(slab)
        again = F.l1_loss(self.generator.high(features), slab)
        with torch.no_grad():
            whole = torch.cat([self.encoder(part) for part in volume.split(self.slab, -1)], -1)
        slab_again, low_again = self._make(self.code_encoder(whole), first)
        through_code = F.l1_loss(slab_again, slab) + F.l1_loss(low_again, low)
        self._update(0, adversarial + self.weight * (again + through_code))
        losses = {"critic": critic, "adversarial": adversarial, "slab": again, "code": through_code}
        return {name: loss.item() for name, loss in losses.items()}

    def _codes(self, rng: np.random.Generator) -> torch.Tensor:
        return normal(rng, (self.batch, self.code), self.work.device)

    def _make(self, code: torch.Tensor, first: int) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.generator.features(code)
        slab = features[..., first // DOWN : (first + self.slab) // DOWN]
        return self.generator.high(slab), self.generator.low(features)

    def _verdict(self, slab: torch.Tensor, low: torch.Tensor, first: int, real: bool) -> torch.Tensor:
        place = slab.new_full((len(slab), 1), first / self.shape[2])
        return real_or_not(self.fine_critic(slab, place), real) + real_or_not(
            self.coarse_critic(low, place[:, :0]), real
        )

    def _update(self, number: int, loss: torch.Tensor) -> None:
        self.optimizers[number].zero_grad(set_to_none=True)
        loss.backward()
        self.optimizers[number].step()


def train_ha_gan(work: Work) -> Trained:
    """Train; volumes are made whole, as in the paper: apart from the norms' statistics, that is all slabs in a row."""
    phase = HierarchicalGan(work)
    spent = fit(phase, work, work.seconds)

    @torch.inference_mode()
    def make(_: Scan, seed: int) -> torch.Tensor:
        code = normal(np.random.default_rng([work.seed, seed]), (1, phase.code), work.device)
        return (phase.generator.high(phase.generator.features(code))[0, 0] + 1) / 2

    return Trained(make, {"all networks": spent})
