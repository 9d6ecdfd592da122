"""Stages *diffusion* (U-Net alone) and *controlnet* (ControlNet copied from the U-Net's trunk; both learn on).

The reference freezes the U-Net in the second stage. With hours of CPU time instead of weeks on 64 GPUs, training both
together follows the mask much sooner; ``train_unet: false`` gives the reference's recipe. The mask embedding, the
dearest part of a step, is computed once and shared by several noise draws of the same crop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from monai.apps.generation.maisi.networks.controlnet_maisi import ControlNetMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi
from torch import nn

from SynthCTLib.conditioning import encode_mask, mask_channel_count
from SynthCTLib.denoiser import control_residuals, embed_mask, predict
from SynthCTLib.labels import Label, load_vocabulary
from SynthCTLib.networks import build_controlnet, build_unet
from training.config import Config
from training.copy_start import copy_start
from training.ema import ExponentialMovingAverage
from training.files import load_checkpoint, save_checkpoint
from training.flow import draw_times, noisy, velocity_loss, voxel_weights
from training.latents import LatentSampler
from training.progress import RunLog
from training.samples import SamplePictures
from training.schedule import warmup_cosine


def hu_prior() -> dict[str, float]:
    """Typical HU by label id, for the mask's ninth channel."""
    return {str(label.id): label.hu_typical for label in load_vocabulary().labels if label.hu_typical is not None}


def may_be_left_out(label: Label) -> bool:
    """Organs that may be handed to the body label: soft ones, whose absence an unlabeled region does not contradict."""
    contradicted = label.group in (
        "Spine",
        "Ribs and sternum",
        "Other bones",
        "Respiratory",
        "Nervous",
        "Body",
        "Unused",
    )
    return not contradicted


class Denoiser(nn.Module):
    """U-Net with or without ControlNet as one module, so that Fabric wraps and synchronizes them together."""

    def __init__(
        self, unet: DiffusionModelUNetMaisi, controlnet: ControlNetMaisi | None, prior: dict[str, float]
    ) -> None:
        super().__init__()
        self.unet, self.controlnet, self.prior = unet, controlnet, prior

    def forward(
        self, x: torch.Tensor, times: torch.Tensor, mask: torch.Tensor, spacing: torch.Tensor, modality: torch.Tensor
    ) -> torch.Tensor:
        """Velocity for ``x`` (N, 4, x, y, z); ``mask`` (1, X, Y, Z) is shared by all N."""
        n = x.shape[0]
        spacing = (spacing * 100).expand(n, -1)
        if self.controlnet is None:
            return predict(self.unet, x, times, None, spacing, modality)
        embedding = embed_mask(self.controlnet, encode_mask(mask, self.prior)).expand(n, -1, -1, -1, -1)
        residuals = control_residuals(self.controlnet, x, times, embedding, modality)
        return predict(self.unet, x, times, residuals, spacing, modality)


def weigher(settings: Config) -> Callable[[torch.Tensor], torch.Tensor]:
    """Mask → weights of the loss, as the stage's ``air_weight`` and ``bone_weight`` say."""
    bone = torch.tensor(load_vocabulary().group_ids("bone"))
    return lambda mask: voxel_weights(mask, bone.to(mask.device), settings["air_weight"], settings["bone_weight"])


def copy_trunk(controlnet: nn.Module, unet: nn.Module) -> None:
    """Start ControlNet from the U-Net's encoder, as ControlNet (arXiv 2302.05543, section 3.1) does.

    The time embedding of the U-Net is wider (it also carries the spacing), so only equal shapes are taken over.
    """
    source, target = unet.state_dict(), controlnet.state_dict()
    target.update({k: v for k, v in source.items() if k in target and v.shape == target[k].shape})
    controlnet.load_state_dict(target)


def build(config: Config, stage: str) -> Denoiser:
    """Fresh networks of a stage; ControlNet starts from the trained U-Net."""
    prior = hu_prior()
    unet = build_unet(config["network"]["unet"])
    if stage == "diffusion":
        copy_start(unet)
        return Denoiser(unet, None, prior)
    trained = load_checkpoint(Path(config["run"]) / "diffusion.pt")
    if trained is None:
        raise ValueError("There is no U-Net yet: run the stage 'diffusion' first.")
    unet.load_state_dict({k.removeprefix("unet."): v for k, v in trained["ema"]["shadow"].items()})
    arguments = config["network"]["controlnet"]
    if arguments["conditioning_embedding_in_channels"] != mask_channel_count(prior):
        raise ValueError(f"network.controlnet.conditioning_embedding_in_channels must be {mask_channel_count(prior)}.")
    controlnet = build_controlnet(arguments)
    copy_trunk(controlnet, unet)
    if not config["controlnet"]["train_unet"]:
        unet.requires_grad_(False)
    return Denoiser(unet, controlnet, prior)


@torch.no_grad()
def validate(
    model: nn.Module, crops: list, draws: int, fabric: Fabric, weights: Callable[[torch.Tensor], torch.Tensor]
) -> float:
    """Mean loss over fixed crops, times and noise."""
    generator = torch.Generator().manual_seed(0)
    losses = []
    for crop in crops:
        times = draw_times(draws, generator)
        noise = torch.randn((draws, *crop.latent.shape[1:]), generator=generator)
        x, t, noise, mask, spacing, latent = (
            fabric.to_device(v)
            for v in (noisy(crop.latent, noise, times), times, noise, crop.mask, crop.spacing, crop.latent)
        )
        modality = torch.ones(draws, dtype=torch.long, device=x.device)
        losses.append(velocity_loss(model(x, t, mask, spacing, modality), latent, noise, weights(mask)).item())
    return sum(losses) / len(losses)


def train_denoiser(config: Config, stage: str) -> None:
    """Train or resume a stage; ``<stage>.pt`` in the run folder always holds the newest state."""
    c = config[stage]
    run = Path(config["run"])
    fabric = Fabric(accelerator=config["accelerator"], devices=config["devices"], precision=config["precision"])
    fabric.launch()
    fabric.seed_everything(config["seed"])
    path = run / f"{stage}.pt"
    state: dict[str, Any] | None = load_checkpoint(path)
    model = build(config, stage).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # a seventh faster
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=c["lr"], betas=(0.9, 0.99), weight_decay=c["weight_decay"])
    ema = ExponentialMovingAverage(model, c["ema"])
    step = 0
    if state:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        ema.load_state_dict(state["ema"])
        step = state["step"]
    wrapped, optimizer = fabric.setup(model, optimizer)
    droppable = np.array([label.id for label in load_vocabulary().labels if may_be_left_out(label)])
    latents, weights = run / "latents", weigher(c)
    sampler = LatentSampler(
        latents, "train", c["weights"], c["crops"], droppable, config["seed"] + step + 1000 * fabric.global_rank
    )
    held_out = LatentSampler(latents, "val", {"openkbp": 1, "ibsi": 1, "other": 1}, c["crops"], droppable, 1)
    fixed = [held_out.draw() for _ in range(c["val_crops"])]
    alike = LatentSampler(latents, "val", {"openkbp": 1, "ibsi": 1, "other": 1}, c["crops"][:1], droppable, 2)
    pictures = SamplePictures(config, [alike.draw() for _ in range(3)])
    generator = torch.Generator().manual_seed(config["seed"] + step + 1000 * fabric.global_rank)
    log = RunLog(run, stage, c["steps"], step, fabric.is_global_zero)
    last_save = time.monotonic()
    while step < c["steps"]:
        for group in optimizer.param_groups:
            group["lr"] = c["lr"] * warmup_cosine(step, c["warmup"], c["steps"])
        loss_sum = 0.0
        for _ in range(c["accumulate"]):
            crop = sampler.draw()
            times = draw_times(c["draws"], generator)
            noise = torch.randn((c["draws"], *crop.latent.shape[1:]), generator=generator)
            modality = torch.full((c["draws"],), 0 if torch.rand((), generator=generator) < c["class_dropout"] else 1)
            x, t, noise, mask, spacing, latent, modality = (
                fabric.to_device(v)
                for v in (
                    noisy(crop.latent, noise, times),
                    times,
                    noise,
                    crop.mask,
                    crop.spacing,
                    crop.latent,
                    modality,
                )
            )
            loss = velocity_loss(wrapped(x, t, mask, spacing, modality), latent, noise, weights(mask))
            fabric.backward(loss / c["accumulate"])
            loss_sum += loss.item()
        fabric.clip_gradients(wrapped, optimizer, max_norm=1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        ema.update(model)
        log.scalars(step, loss=loss_sum / c["accumulate"], lr=optimizer.param_groups[0]["lr"])
        if step % c["val_every"] == 0 or step == c["steps"]:
            with ema.applied_to(model):
                log.scalars(step, force=True, val_loss=validate(wrapped, fixed, 4, fabric, weights))
                if fabric.is_global_zero:
                    log.images(step, "real-and-sampled", pictures(model, held_out.scale_factor, fabric.device))
        if fabric.is_global_zero and (time.monotonic() - last_save > 120 or step == c["steps"]):
            save_checkpoint(
                path,
                {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "ema": ema.state_dict(),
                    "step": step,
                },
            )
            last_save = time.monotonic()
    log.close()


def train_diffusion(config: Config) -> None:
    """Stage *diffusion*: the unconditional (spacing and modality only) U-Net."""
    train_denoiser(config, "diffusion")


def train_controlnet(config: Config) -> None:
    """Stage *controlnet*: ControlNet, with the U-Net learning on unless ``train_unet`` is false."""
    train_denoiser(config, "controlnet")
