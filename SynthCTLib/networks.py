"""Builds the networks of both families from the ``arguments`` of a model card or a training config."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.apps.generation.maisi.networks.controlnet_maisi import ControlNetMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi
from torch import nn

from SynthCTLib.errors import ModelError
from SynthCTLib.medical_diffusion.factorized_unet import FactorizedUNet
from SynthCTLib.medical_diffusion.vqgan import VqGan
from SynthCTLib.refiner import Refiner


def build_autoencoder(arguments: dict[str, Any]) -> AutoencoderKlMaisi:
    """MAISI's VAE-GAN generator (arXiv 2409.11169, section 3.1) with the given widths."""
    return AutoencoderKlMaisi(**arguments)


def build_unet(arguments: dict[str, Any]) -> DiffusionModelUNetMaisi:
    """MAISI's denoising U-Net (section 3.2)."""
    return DiffusionModelUNetMaisi(**arguments)


def build_controlnet(arguments: dict[str, Any]) -> ControlNetMaisi:
    """MAISI's ControlNet (section 3.3)."""
    return ControlNetMaisi(**arguments)


BUILDERS: dict[str, Callable[[dict[str, Any]], nn.Module]] = {
    "autoencoder": build_autoencoder,
    "unet": build_unet,
    "controlnet": build_controlnet,
    "refiner": lambda arguments: Refiner(**arguments),
    "vqgan": lambda arguments: VqGan(**arguments),
    "denoiser": lambda arguments: FactorizedUNet(**arguments),
}


@dataclass(frozen=True)
class Networks:
    """The networks of a model, in evaluation mode on one device, and the factor its latents are scaled by."""

    autoencoder: AutoencoderKlMaisi
    unet: DiffusionModelUNetMaisi
    controlnet: ControlNetMaisi
    scale_factor: float
    refiner: Refiner | None = None


def build_on_meta(part: str, arguments: dict[str, Any]) -> nn.Module:
    """Build ``part``, a key of :data:`BUILDERS`, without memory for its weights.

    Raises:
        ModelError: the arguments are none that its class takes.
    """
    try:
        with torch.device("meta"):
            return BUILDERS[part](arguments)
    except (TypeError, ValueError) as error:
        raise ModelError(f"The model card's arguments for the {part} do not work ({error}); correct them.") from error


def network_shapes(part: str, arguments: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every state-dict key of ``part`` with its shape."""
    return {key: tuple(value.shape) for key, value in build_on_meta(part, arguments).state_dict().items()}
