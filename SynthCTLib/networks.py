"""Builds MONAI's MAISI networks from the ``arguments`` of a model card or a training config; one place for all."""

from __future__ import annotations

from typing import Any

from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.apps.generation.maisi.networks.controlnet_maisi import ControlNetMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi


def build_autoencoder(arguments: dict[str, Any]) -> AutoencoderKlMaisi:
    """MAISI's VAE-GAN generator (arXiv 2409.11169, section 3.1) with the given widths."""
    return AutoencoderKlMaisi(**arguments)


def build_unet(arguments: dict[str, Any]) -> DiffusionModelUNetMaisi:
    """MAISI's denoising U-Net (section 3.2)."""
    return DiffusionModelUNetMaisi(**arguments)


def build_controlnet(arguments: dict[str, Any]) -> ControlNetMaisi:
    """MAISI's ControlNet (section 3.3)."""
    return ControlNetMaisi(**arguments)
