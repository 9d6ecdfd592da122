"""Stage *autoencoder*: MAISI's VAE-GAN (arXiv 2409.11169, section 3.1) on patches of CT and MR.

Loss: :mod:`training.autoencoder_loss` and :mod:`training.adversary`. With ``train_encoder: false`` the encoder stays
the one of :mod:`training.linear_start` (principal components of blocks) and the decoder alone learns. Unless
``adversarial_trains_encoder`` says otherwise, the encoder is frozen once the adversarial term has opened, so that
latents encoded meanwhile stay valid.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from torch import nn

from training.adversary import Adversary, Scalars
from training.autoencoder_loss import ReconstructionLoss
from training.autoencoder_quality import image_scores, write_quality
from training.autoencoder_start import new_autoencoder, set_start
from training.config import Config
from training.ema import ExponentialMovingAverage
from training.loop import Rhythm, clip_gradients, run_stage, start_fabric
from training.patches import PatchSampler
from training.perceptual import build_features
from training.progress import RunLog
from training.schedule import staged, warmup_cosine
from training.settings import read_settings, require_keys
from training.step_draws import micro_draws, shared_draws, torch_draws

STARTING_PATCHES = 24
START_SEED, VALIDATION_SEED = 2, 1


class Reconstruction(nn.Module):
    """Encode, sample and decode in one forward pass, which is what DDP can synchronize."""

    def __init__(self, autoencoder: AutoencoderKlMaisi) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(
        self, x: torch.Tensor, noise: torch.Tensor, encoder_learns: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(N, 1, X, Y, Z) in the unit range and unit noise for the latent → reconstruction, mean, deviation."""
        with torch.set_grad_enabled(encoder_learns and torch.is_grad_enabled()):
            mu, sigma = self.autoencoder.encode(x)
        return self.autoencoder.decode(mu + sigma * noise), mu, sigma


class AutoencoderStage:
    """A :class:`training.loop.Stage`: autoencoder, discriminator, their optimizers, and patches."""

    def __init__(self, config: Config, settings: dict[str, Any], fabric: Fabric) -> None:
        self.settings, self.fabric, self.seed = settings, fabric, config["seed"]
        prepared, weights = Path(config["prepared"]), config["sampling"]
        self.patches = PatchSampler(prepared, "train", weights, settings["augment"])
        self.model = new_autoencoder(config["network"]["autoencoder"])
        self.downsampling = 2 ** (len(config["network"]["autoencoder"]["num_channels"]) - 1)
        first_side = self.patch_side(0)
        plain = PatchSampler(prepared, "train", weights)
        set_start(self.model, settings, plain.batch(STARTING_PATCHES, first_side, np.random.default_rng(START_SEED)))
        if not settings["train_encoder"]:
            for part in (self.model.encoder, self.model.quant_conv_mu, self.model.quant_conv_log_sigma):
                part.requires_grad_(False)
        optimizer = torch.optim.Adam(self.model.parameters(), lr=settings["lr"], betas=(0.9, 0.99))
        self.reconstruct, self.optimizer = fabric.setup(Reconstruction(self.model), optimizer)
        self.adversary = Adversary(settings, fabric)
        self.ema = ExponentialMovingAverage(self.model, settings["ema"])
        needed = settings["perceptual"] or settings["quality_cases"]
        self.features = fabric.to_device(build_features(settings["feature_network"])) if needed else None
        self.loss = ReconstructionLoss(settings, self.features)
        held_out = PatchSampler(prepared, "val", weights)
        fixed = held_out.batch(settings["val_patches"], first_side, np.random.default_rng(VALIDATION_SEED))
        self.held_out = fabric.to_device(fixed)

    def patch_side(self, step: int) -> int:
        """Side of the training patches at a step, in voxels."""
        patch = self.settings["patch"]
        return patch if isinstance(patch, int) else staged(step, patch)

    def lr_factor(self, step: int) -> float:
        """Factor on the autoencoder's learning rate at a step."""
        s = self.settings
        if s["lr_stages"]:
            return float(staged(step, s["lr_stages"]))
        if self.adversary.is_open(step):
            return float(s["adversarial_lr_factor"])
        return warmup_cosine(step, s["warmup"], s["adversarial_from"])

    def step(self, step: int) -> Scalars:
        """One update of the autoencoder, then of the discriminator from the same patches."""
        s, passes = self.settings, self.settings["accumulate"]
        lr = s["lr"] * self.lr_factor(step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)
        scalars: list[Scalars] = []
        pairs = []
        for number in range(passes):
            with self.fabric.no_backward_sync(self.reconstruct, enabled=number < passes - 1):
                x, output, found = self._backward(step, number)
            scalars.append(found)
            pairs.append((x, output.detach()))
        norm = clip_gradients(self.fabric, self.reconstruct, self.optimizer, s["clip"])
        self.optimizer.step()
        self.ema.update(self.model)
        logged = {key: sum(one[key] for one in scalars) / passes for key in scalars[0]}
        if self.adversary.is_learning(step):
            critic_lr = s["critic_lr"] * (float(staged(step, s["lr_stages"])) if s["lr_stages"] else 1.0)
            logged |= self.adversary.learn(pairs, critic_lr)
        return {**logged, **norm, "lr": lr}

    def _backward(self, step: int, number: int) -> tuple[torch.Tensor, torch.Tensor, Scalars]:
        """Add the gradient of one batch of patches; returns the batch, its reconstruction and what is logged."""
        s, fabric = self.settings, self.fabric
        rng = micro_draws(self.seed, step, number * fabric.world_size + fabric.global_rank)
        x = self.patches.batch(s["batch"], self.patch_side(step), rng)
        shape = (len(x), self.model.latent_channels, *(n // self.downsampling for n in x.shape[2:]))
        noise = torch.randn(shape, generator=torch_draws(rng))
        x, noise = fabric.to_device((x, noise))
        learns = s["train_encoder"] and (s["adversarial_trains_encoder"] or not self.adversary.is_open(step))
        output, mu, sigma = self.reconstruct(x, noise, learns)
        output = output.clone()  # Fabric lets nobody but itself ask for gradients at what its modules return
        terms = self.loss.image(output, x, shared_draws(self.seed, step))
        scalars = {name: value.item() for name, value in terms.items()}
        reconstruction = torch.stack(list(terms.values())).sum()
        total = reconstruction
        if learns:
            kl = self.loss.latent(mu, sigma)
            total = total + kl
            scalars["kl"] = kl.item()
        if self.adversary.is_open(step):
            term, found = self.adversary.term(output, reconstruction, step)
            total = total + term
            scalars |= found
        fabric.backward(total / s["accumulate"])
        return x, output, {"loss": total.item(), **scalars, "latent_std": mu.detach().float().std().item()}

    @torch.no_grad()
    def validate(self, step: int, log: RunLog) -> None:
        """The averaged weights on fixed held-out patches: error, PSNR, SSIM, perceptual distance, and a picture."""
        with self.ema.applied_to(self.model), self.fabric.autocast():
            mu, _ = self.model.encode(self.held_out)
            output = self.model.decode(mu).float().clamp(0, 1)
        scores = image_scores(output, self.held_out, self.features)
        log.scalars(
            step,
            force=True,
            val_mae_hu=2000 * (output - self.held_out).abs().mean().item(),
            val_latent_mean=mu.float().mean().item(),
            val_latent_std=mu.float().std().item(),
            **{f"val_{name}": value for name, value in scores.items()},
        )
        middle = output.shape[-1] // 2
        log.images(step, "reconstruction", [self.held_out[:6, 0, :, :, middle], output[:6, 0, :, :, middle]])

    def state_dict(self) -> dict[str, Any]:
        """Both networks, the average and both optimizers."""
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            **self.adversary.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.adversary.load_state_dict(state)


def train_autoencoder(config: Config) -> None:
    """Train (or resume) the autoencoder; ``autoencoder.pt`` in the run folder always holds the newest state."""
    settings = read_settings(config, "autoencoder")
    require_keys(config, "run", "prepared", "seed", "accelerator", "devices", "precision", "sampling")
    require_keys(config, "network.autoencoder.num_channels")
    # An encoder that is frozen on the way leaves DDP with weights that get no gradient.
    freezes = settings["train_encoder"] and not settings["adversarial_trains_encoder"]
    several = config["devices"] not in (1, "1") or config.get("num_nodes", 1) > 1
    options = {"strategy": "ddp_find_unused_parameters_true"} if several and freezes else {}
    fabric = start_fabric(config, settings["precision"], **options)
    run = Path(config["run"])
    stage = AutoencoderStage(config, settings, fabric)
    rhythm = Rhythm(
        settings["steps"], settings["val_every"], settings["save_every"], save_at=(1, settings["adversarial_from"])
    )
    run_stage(stage, "autoencoder", run, rhythm, fabric)
    if fabric.is_global_zero and settings["quality_cases"]:
        write_quality(config, settings["quality_cases"], stage.features, run)
