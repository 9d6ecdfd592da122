"""Stage *md-diffusion*: the factorized U-Net learns to predict the noise in latents; its state is ``md-diffusion.pt``.

x_t = √ᾱ_t·x_0 + √(1 − ᾱ_t)·ε (Ho et al., 2006.11239, equation 4), ᾱ of the cosine schedule (2102.09672, equation 17),
loss |ε − ε_θ(x_t, t)| (L1, in place of the square in 2006.11239, equation 14).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from monai.networks.schedulers import DDPMScheduler

from SynthCTLib.medical_diffusion.factorized_unet import FactorizedUNet
from SynthCTLib.medical_diffusion.sampling import decode_unit_latent, sample_unit_latent
from training.config import Config
from training.ema import ExponentialMovingAverage
from training.loop import Rhythm, run_stage
from training.medical_diffusion.latents import read_latents, require_same_vqgan, trained_vqgan, vqgan_sha256
from training.medical_diffusion.stage import one_device
from training.progress import RunLog
from training.schedule import warmup_cosine


class DiffusionStage:
    """The U-Net, its average and its optimizer; times and noise of a step follow from seed and step."""

    def __init__(self, config: Config, fabric: Fabric) -> None:
        self.settings, self.seed, self.fabric = config["md-diffusion"], config["seed"], fabric
        self.latents, self.held_out = read_latents(config, "train"), read_latents(config, "val")
        self.vqgan_sha256 = vqgan_sha256(config)
        self.vqgan = trained_vqgan(config).to(fabric.device)
        self.scheduler = config["export"]["card"]["scheduler"]
        self.chain = DDPMScheduler(**self.scheduler)
        self.model = FactorizedUNet(**config["network"]["denoiser"]).to(fabric.device)
        self.ema = ExponentialMovingAverage(self.model, self.settings["ema"])
        self.optimizer = torch.optim.Adam(self.model.parameters(), self.settings["lr"])

    def step(self, step: int) -> dict[str, float]:
        """One update on random latents."""
        s = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = s["lr"] * warmup_cosine(step, s["warmup"], s["steps"])
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        chosen = self.latents[torch.randint(len(self.latents), (s["batch"],), generator=generator)]
        loss = self.loss(chosen, generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.ema.update(self.model)
        return {"loss": loss.item(), "lr": self.optimizer.param_groups[0]["lr"]}

    def loss(self, latents: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Mean |ε − ε_θ| of ``latents`` (N, C, D, H, W) at random times."""
        times = torch.randint(self.chain.num_train_timesteps, (len(latents),), generator=generator)
        noise = torch.randn(latents.shape, generator=generator)
        noisy = self.chain.add_noise(latents, noise, times)
        with self.fabric.autocast():
            predicted = self.model(self.fabric.to_device(noisy), self.fabric.to_device(times))
        return F.l1_loss(predicted.float(), self.fabric.to_device(noise))

    def state_dict(self) -> dict[str, Any]:
        """Weights, average and optimizer, and the SHA-256 of the VQ-GAN that the latents are of."""
        parts: dict[str, Any] = {"model": self.model, "ema": self.ema, "optimizer": self.optimizer}
        return {**{name: part.state_dict() for name, part in parts.items()}, "vqgan_sha256": self.vqgan_sha256}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave. Raises InputError if it was trained on latents of another VQ-GAN."""
        require_same_vqgan(state, self.vqgan_sha256)
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])

    @torch.no_grad()
    def validate(self, step: int, log: RunLog) -> None:
        """Log the loss of held-out latents at fixed times and noise, and a picture of three samples."""
        shape = (3, *self.latents.shape[1:])
        with self.ema.applied_to(self.model):
            losses = [self.loss(self.held_out, torch.Generator().manual_seed(k)).item() for k in range(4)]
            unit = sample_unit_latent(self.model, shape, self.scheduler, seed=0, steps=25, solver="ddim")
        log.scalars(step, force=True, val_loss=sum(losses) / len(losses))
        images = decode_unit_latent(self.vqgan, unit)
        log.images(step, "sampled", [(images[:, 0, images.shape[2] // 2] + 1) / 2])


def train_diffusion(config: Config) -> None:
    """Train or resume. Raises InputError where VQ-GAN or latents are missing or do not belong together."""
    settings = config["md-diffusion"]
    fabric = one_device(config, settings["precision"])
    rhythm = Rhythm(settings["steps"], settings["val_every"], settings["save_every"])
    run_stage(DiffusionStage(config, fabric), "md-diffusion", Path(config["run"]), rhythm, fabric)
