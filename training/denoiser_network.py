"""The denoiser that the stages *diffusion* and *controlnet* train, and where its weights come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from monai.apps.generation.maisi.networks.controlnet_maisi import ControlNetMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi
from torch import nn

from SynthCTLib.checkpoint import check_state, read_checkpoint
from SynthCTLib.conditioning import encode_mask
from SynthCTLib.denoiser import control_residuals, embed_mask, predict
from SynthCTLib.errors import InputError
from SynthCTLib.networks import build_controlnet, build_unet, network_shapes
from training.config import Config
from training.copy_start import copy_start
from training.denoiser_settings import DenoiserSettings
from training.files import load_checkpoint
from training.model_conditions import conditioning_of

Network = TypeVar("Network", DiffusionModelUNetMaisi, ControlNetMaisi)

SCALE_TOLERANCE = 1e-3
"""Released scale factors are stored in half precision at times."""


class Denoiser(nn.Module):
    """U-Net with or without ControlNet as one module, so that Fabric wraps and synchronizes them together."""

    def __init__(
        self, unet: DiffusionModelUNetMaisi, controlnet: ControlNetMaisi | None, prior: Mapping[str, float] | None
    ) -> None:
        super().__init__()
        self.unet, self.controlnet, self.prior = unet, controlnet, prior

    def forward(
        self, x: torch.Tensor, times: torch.Tensor, mask: torch.Tensor, conditions: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """Prediction for ``x`` (N, C, x, y, z) at ``times`` (N,).

        ``mask`` (M, 4x, 4y, 4z): N is a multiple of M, and each mask, whose embedding is the dearest part of a step, is
        shared by N / M consecutive latents. ``conditions``: (N, …) each, those of :func:`SynthCTLib.denoiser.predict`.
        """
        if self.controlnet is None:
            return predict(self.unet, x, times, None, **conditions)
        embedding = embed_mask(self.controlnet, encode_mask(mask, self.prior))
        embedding = embedding.repeat_interleave(len(x) // len(mask), dim=0)
        residuals = control_residuals(self.controlnet, x, times, embedding, conditions.get("class_labels"))
        return predict(self.unet, x, times, residuals, **conditions)


def copy_trunk(controlnet: nn.Module, unet: nn.Module) -> None:
    """Start ControlNet from the U-Net's encoder, as ControlNet (arXiv 2302.05543, section 3.1) does.

    The time embedding of the U-Net is wider (it also carries the spacing), so only equal shapes are taken over.
    """
    source, target = unet.state_dict(), controlnet.state_dict()
    target.update({k: v for k, v in source.items() if k in target and v.shape == target[k].shape})
    controlnet.load_state_dict(target)


def build_denoiser(
    config: Config, stage: str, settings: DenoiserSettings, copy_sign: float, scale_factor: float
) -> Denoiser:
    """The networks of a stage at its first step.

    Args:
        copy_sign: what a U-Net that starts with ``copy`` passes on, see :func:`training.copy_start.copy_start`.
        scale_factor: of the encoded latents; a U-Net that is fine-tuned has to be used to the same.

    Raises InputError if ControlNet has no U-Net to start from; ModelError for a checkpoint of other networks.
    """
    prior = conditioning_of(config["network"])["hu_prior"]
    unet = _build(build_unet, config, "unet")
    if stage == "diffusion":
        if settings.start_from:
            _load_released(unet, "unet", settings.start_from, config, scale_factor)
        elif settings.start == "copy":
            copy_start(unet, copy_sign)
        return Denoiser(unet, None, prior)
    _load_trained_unet(unet, config, scale_factor)
    controlnet = _build(build_controlnet, config, "controlnet")
    if settings.start_from:
        _load_released(controlnet, "controlnet", settings.start_from, config, scale_factor)
    elif settings.start == "copy":
        copy_trunk(controlnet, unet)
    unet.requires_grad_(settings.train_unet)
    return Denoiser(unet, controlnet, prior)


def _build(build: Callable[[dict[str, Any]], Network], config: Config, part: str) -> Network:
    try:
        return build(config["network"][part])
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"'network.{part}' of the config does not work: {error}") from error


def _load_trained_unet(unet: nn.Module, config: Config, scale_factor: float) -> None:
    """Averaged weights of the stage *diffusion*; where it was not run, the checkpoint that it would start from."""
    trained = load_checkpoint(Path(config["run"]) / "diffusion.pt")
    start_from = config["diffusion"].get("start_from", "")
    if trained is not None:
        state = {k.removeprefix("unet."): v for k, v in trained["ema"]["shadow"].items()}
        check_state(state, network_shapes("unet", config["network"]["unet"]), f"{config['run']}/diffusion.pt")
        unet.load_state_dict(state)
    elif start_from:
        _load_released(unet, "unet", start_from, config, scale_factor)
    else:
        raise InputError(
            "There is no U-Net yet: run the stage 'diffusion' first, or name a checkpoint in 'diffusion.start_from'."
        )


def _load_released(network: nn.Module, part: str, path: str, config: Config, scale_factor: float) -> None:
    """Weights of a file in a released layout, every key and shape checked, nothing unpickled."""
    checkpoint = read_checkpoint(path)
    check_state(checkpoint.state, network_shapes(part, config["network"][part]), f"{path}, taken as the {part},")
    known = checkpoint.scale_factor
    if known is not None and abs(known / scale_factor - 1) > SCALE_TOLERANCE:
        raise InputError(
            f"{path} was trained with the scale factor {known:.5g} and the latents are scaled by {scale_factor:.5g}; "
            f"run the stage 'encode' with encode.scale_factor={path}."
        )
    network.load_state_dict(checkpoint.state)
