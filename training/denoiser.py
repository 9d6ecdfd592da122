"""Stages *diffusion* (U-Net alone) and *controlnet* (ControlNet copied from the U-Net's trunk; both learn on).

The reference freezes the U-Net in the second stage. With hours of CPU time instead of weeks on 64 GPUs, training both
together follows the mask much sooner; ``train_unet: false`` gives the reference's recipe.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from training.autoencoder_start import trained_autoencoder
from training.batches import Batch, BatchSampler
from training.config import Config
from training.denoiser_loss import voxel_weights, weighted_loss
from training.denoiser_network import Denoiser, build_denoiser
from training.denoiser_settings import DenoiserSettings, denoiser_settings
from training.ema import ExponentialMovingAverage
from training.latents import read_latents
from training.loop import Rhythm, clip_gradients, run_stage, start_fabric
from training.model_conditions import conditioning_of
from training.objectives import build_objective
from training.progress import RunLog
from training.region_contrast import region_contrast
from training.samples import SamplePictures
from training.schedule import warmup_cosine, warmup_polynomial
from training.settings import require_keys
from training.step_draws import noise_draws

DECAYS = {"cosine": warmup_cosine, "polynomial": warmup_polynomial}
VALIDATION_SEED = 1
VALIDATION_DRAWS = 4
PICTURES = 3


class DenoiserStage:
    """One of the two stages, as :func:`training.loop.run_stage` trains it.

    Raises InputError and ModelError for latents, settings and checkpoints that do not fit each other.
    """

    def __init__(self, config: Config, name: str, settings: DenoiserSettings, fabric: Fabric) -> None:
        self.settings, self.fabric, self.seed = settings, fabric, config["seed"]
        self.objective = build_objective(config, settings.times)
        self.weighted_ids = settings.weighted_ids()
        run, channels = Path(config["run"]), config["network"]["unet"]["in_channels"]
        train, held_out = (read_latents(run, Path(config["prepared"]), s, channels) for s in ("train", "val"))
        conditioning = conditioning_of(config["network"])
        multiple = 2 ** (len(config["network"]["unet"]["num_channels"]) - 1)
        self.batches = BatchSampler(train, settings, conditioning, self.seed, multiple, settings.weights)
        told = replace(settings, class_dropout=0.0)
        self.held_out = BatchSampler(held_out, told, conditioning, VALIDATION_SEED, multiple)
        model = build_denoiser(config, name, settings, self.objective.copy_sign, train.scale_factor)
        # A seventh faster than the default layout.
        self.model: Denoiser = model.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        trainable = [p for p in self.model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trainable, lr=settings.lr, betas=(0.9, 0.99), weight_decay=settings.weight_decay)
        self.wrapped, self.optimizer = fabric.setup(self.model, optimizer)
        self.ema = ExponentialMovingAverage(self.model, settings.ema)  # now that the weights are on their device
        self.pictures = _pictures(config, self.held_out, self.objective) if fabric.is_global_zero else None

    def step(self, step: int) -> dict[str, float]:
        """One update: the micro-batches of this process, gradients averaged over all."""
        settings = self.settings
        factor = DECAYS[settings.decay](step, settings.warmup, settings.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.lr * factor
        losses = torch.zeros((), device=self.fabric.device)
        for part in range(settings.accumulate):
            micro = part * self.fabric.world_size + self.fabric.global_rank
            batch = self.batches.draw(step, micro)
            last = part == settings.accumulate - 1
            with self.fabric.no_backward_sync(self.wrapped, enabled=not last):
                noise = noise_draws(self.seed, step, micro)
                loss = self._loss(self.wrapped, batch, settings.draws, noise, settings.contrast.weight_at(step))
                self.fabric.backward(loss / settings.accumulate)
            losses += loss.detach()
        norm = clip_gradients(self.fabric, self.wrapped, self.optimizer, settings.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.ema.update(self.model)
        mean = self.fabric.all_reduce(losses / settings.accumulate, reduce_op="mean")
        return {"loss": mean.item(), "lr": settings.lr * factor, **norm}  # type: ignore[union-attr]

    @torch.no_grad()
    def validate(self, step: int, log: RunLog) -> None:
        """Mean loss over fixed held-out crops, times and noise; samples for fixed conditions."""
        with self.ema.applied_to(self.model), self.fabric.autocast():
            losses = []
            for number in range(self.settings.val_crops):
                noise = noise_draws(VALIDATION_SEED, number, 0)
                batch = self.held_out.draw(number)
                losses.append(self._loss(self.model, batch, VALIDATION_DRAWS, noise, 0.0).item())
            log.scalars(step, force=True, val_loss=sum(losses) / len(losses))
            if self.pictures is not None:
                log.images(step, "real-and-sampled", self.pictures(self.model, self.fabric.device))

    def state_dict(self) -> dict[str, Any]:
        """Weights, their average and the optimizer."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.load_state_dict(state["ema"])

    def _loss(
        self, model: Any, batch: Batch, draws: int, generator: torch.Generator, contrast_weight: float
    ) -> torch.Tensor:
        """Loss of a batch, each of its crops with several draws of noise and time."""
        latent = batch.latent.repeat_interleave(draws, dim=0)
        times = self.objective.draw_times(len(latent), latent[0, 0].numel(), generator)
        noise = torch.randn(latent.shape, generator=generator)
        x, target = self.objective.noisy(latent, noise, times), self.objective.target(latent, noise)
        conditions = {name: value.repeat_interleave(draws, dim=0) for name, value in batch.conditions.items()}
        x, target, times, mask, conditions = self.fabric.to_device((x, target, times, batch.mask, conditions))
        weights = voxel_weights(mask, self.settings.air_weight, self.weighted_ids).repeat_interleave(draws, dim=0)
        region = batch.mask != batch.without
        if contrast_weight == 0 or not region.any():
            return weighted_loss(model(x, times, mask, conditions), target, weights, self.settings.loss)
        # Both predictions in one pass, as processes that are synchronized need it.
        doubled = {name: torch.cat([value, value]) for name, value in conditions.items()}
        masks = torch.cat([mask, self.fabric.to_device(batch.without)])
        output, without = model(torch.cat([x, x]), torch.cat([times, times]), masks, doubled).chunk(2)
        regions = self.fabric.to_device(region.repeat_interleave(draws, dim=0))
        inside, outside = region_contrast(output, without, target, regions, self.settings.contrast)
        loss = weighted_loss(output, target, weights, self.settings.loss)
        return loss + contrast_weight * (inside + outside)


def _pictures(config: Config, held_out: BatchSampler, objective: Any) -> SamplePictures | None:
    """Pictures of held-out conditions, where the run has an autoencoder to decode them."""
    run = Path(config["run"])
    if not (run / "autoencoder.pt").is_file():
        return None
    decoder, _ = trained_autoencoder(run, config["network"]["autoencoder"])
    first = held_out.draw(0)
    others = (held_out.draw(number) for number in range(1, 10 * PICTURES))
    alike = [batch for batch in others if batch.latent.shape == first.latent.shape]
    return SamplePictures(decoder, [first, *alike[: PICTURES - 1]], objective, held_out.latents.scale_factor)


def _train(config: Config, name: str) -> None:
    require_keys(config, "run", "prepared", "seed", "accelerator", "devices", "precision", "diffusion")
    require_keys(config, "network.unet", "network.controlnet", "export.card")
    settings = denoiser_settings(config, name)
    fabric = start_fabric(config)
    stage = DenoiserStage(config, name, settings, fabric)
    run_stage(
        stage, name, Path(config["run"]), Rhythm(settings.steps, settings.val_every, settings.save_seconds), fabric
    )


def train_diffusion(config: Config) -> None:
    """Stage *diffusion*: the U-Net, told spacing, modality and body region as far as it has inputs for them."""
    _train(config, "diffusion")


def train_controlnet(config: Config) -> None:
    """Stage *controlnet*: ControlNet, with the U-Net learning on unless ``train_unet`` is false."""
    _train(config, "controlnet")
