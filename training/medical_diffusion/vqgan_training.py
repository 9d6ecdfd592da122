"""One training step of the VQ-GAN and its state (Medical Diffusion, "VQ-GAN").

Loss: 4·L1 + 4·perceptual (one random slice) + commitment, and from step ``adversarial_from`` on λ·(−D(x̂)) of the slice
and the volume discriminator + 4·feature matching. λ is the adaptive weight of Esser et al. times a ramp from 0 to
``adversarial_weight`` over ``adversarial_ramp`` steps: the critics learn first, so that opening them moves the decoder
little. Autoencoder in the stage's precision, quantizer in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import nn

from SynthCTLib.medical_diffusion.vqgan import VqGan
from training.config import Config
from training.ema import ExponentialMovingAverage
from training.medical_diffusion.discriminators import (
    Discriminators,
    adaptive_weight,
    feature_matching,
    generator_loss,
    hinge_loss,
)
from training.medical_diffusion.learned_codebook import (
    LearnedCodebook,
    commitment_loss,
    perplexity,
    straight_through,
)
from training.medical_diffusion.perceptual import PerceptualLoss
from training.schedule import warmup_cosine


class VqGanTraining:
    """Networks, averages and optimizers of the stage; ``settings`` is the config's section ``vqgan``."""

    def __init__(self, network: Config, settings: Config, seed: int, fabric: Fabric) -> None:
        self.settings, self.seed, self.fabric = settings, seed, fabric
        self.model = VqGan(**network).to(fabric.device)
        self.learner = LearnedCodebook(
            self.model.codebook,
            settings["codebook_decay"],
            settings["laplace"],
            settings["restart_below"],
            settings["restart_every"],
        ).to(fabric.device)
        self.critics = Discriminators(settings["critic_channels"], settings["critic_layers"]).to(fabric.device)
        self.perceptual = PerceptualLoss().to(fabric.device) if settings["perceptual"] else None
        # Codes that restart must not be averaged with what they were before, so the codebook is not in it.
        self.averaged = nn.ModuleList([self.model.encoder, self.model.decoder])
        self.ema = ExponentialMovingAverage(self.averaged, settings["ema"])
        self.optimizer = torch.optim.Adam(self.model.parameters(), settings["lr"], (0.5, 0.9))
        self.critic_optimizer = torch.optim.Adam(self.critics.parameters(), settings["critic_lr"], (0.5, 0.9))

    def start_codebook(self, images: torch.Tensor) -> None:
        """Put the codes on latents of ``images``, unless that has been done, be it by an earlier run."""
        if self.learner.initialized:
            return
        with torch.no_grad(), self.fabric.autocast():
            latent = self.model.encode(images)
        self.learner.initialize(latent, torch.Generator().manual_seed(self.seed))

    def step(self, images: torch.Tensor, step: int) -> dict[str, float]:
        """One step on ``images`` (N, 1, D, H, W) in [−1, 1]; returns what is to be logged."""
        s = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = s["lr"] * warmup_cosine(step, s["warmup"], s["steps"])
        rng = np.random.default_rng([self.seed, step])
        slices = torch.from_numpy(rng.integers(images.shape[2], size=len(images))).to(images.device)
        with self.fabric.autocast():
            latent = self.model.encode(images)
            indices = self.model.codebook.nearest(latent)
            quantized = self.model.codebook.lookup(indices)
            output = self.model.decode(straight_through(latent, quantized))
        output = output.float()
        commitment = commitment_loss(latent, quantized)
        reconstruction, log = self._reconstruction(output, images, slices)
        total = reconstruction + s["commitment"] * commitment
        if step >= s["adversarial_from"]:
            adversarial, more = self._adversarial(output, images, slices, reconstruction, step)
            total, log = total + adversarial, log | more
        self._descend(total, self.optimizer, self.model)
        if step >= s["adversarial_from"]:
            log["critic"] = self._train_critics(output.detach(), images, slices)
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        self.learner.update(latent, indices, generator)
        self.ema.update(self.averaged)
        codes = len(self.model.codebook.codes)
        return {
            **log,
            "commitment": commitment.item(),
            "perplexity": perplexity(indices, codes),
            "unused_codes": self.learner.unused(),
            "lr": self.optimizer.param_groups[0]["lr"],
        }

    @torch.no_grad()
    def reconstruct(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(reconstruction, indices of codes) with the averaged encoder and decoder and the codes as they are."""
        with self.ema.applied_to(self.averaged), self.fabric.autocast():
            indices = self.model.codebook.nearest(self.model.encode(images))
            return self.model.decode(self.model.codebook.lookup(indices)).float().clamp(-1, 1), indices

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, the codebook's averages and its initialization included."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "learner": self.learner,
            "critics": self.critics,
            "ema": self.ema,
            "optimizer": self.optimizer,
            "critic_optimizer": self.critic_optimizer,
        }

    def _reconstruction(
        self, output: torch.Tensor, images: torch.Tensor, slices: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, float]]:
        distance = F.l1_loss(output, images)
        total, log = self.settings["l1"] * distance, {"l1": distance.item()}
        if self.perceptual is not None:
            with self.fabric.autocast():
                seen = self.perceptual(pick(output, slices), pick(images, slices))
            total, log["perceptual"] = total + self.settings["perceptual"] * seen.float(), seen.item()
        return total, log

    def _adversarial(
        self,
        output: torch.Tensor,
        images: torch.Tensor,
        slices: torch.Tensor,
        reconstruction: torch.Tensor,
        step: int,
    ) -> tuple[torch.Tensor, dict[str, float]]:
        s = self.settings
        self.critics.requires_grad_(False)
        with self.fabric.autocast():
            fake = self.critics(output, pick(output, slices))
            with torch.no_grad():
                real = self.critics(images, pick(images, slices))
        self.critics.requires_grad_(True)
        fooled, matched = generator_loss(fake).float(), feature_matching(real, fake).float()
        last = list(self.model.decoder.parameters())[-2]  # weight of the last convolution
        weight = adaptive_weight(reconstruction, fooled, last, s["largest_adaptive_weight"])
        ramp = min(1.0, (step - s["adversarial_from"]) / max(1, s["adversarial_ramp"]))
        total = ramp * (s["adversarial_weight"] * weight * fooled + s["feature_matching"] * matched)
        log = {"gan": fooled.item(), "feature_matching": matched.item(), "adaptive_weight": weight.item()}
        return total, log

    def _train_critics(self, output: torch.Tensor, images: torch.Tensor, slices: torch.Tensor) -> float:
        with self.fabric.autocast():
            real = self.critics(images, pick(images, slices))
            fake = self.critics(output, pick(output, slices))
        loss = hinge_loss(real, fake).float()
        self._descend(loss, self.critic_optimizer, self.critics)
        return loss.item()

    def _descend(self, loss: torch.Tensor, optimizer: torch.optim.Optimizer, module: nn.Module) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()


def pick(volumes: torch.Tensor, slices: torch.Tensor) -> torch.Tensor:
    """Slice number ``slices`` (N,) of each volume (N, 1, D, H, W) → (N, 1, H, W)."""
    return volumes[torch.arange(len(volumes), device=volumes.device), :, slices]
