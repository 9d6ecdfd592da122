"""Stage *warm-start*: weights for larger networks, from an exported model that is trained.

Written are ``<warm_start.folder>/{autoencoder,unet,controlnet}.safetensors``, which ``autoencoder.start_from``,
``diffusion.start_from`` and ``controlnet.start_from`` take. The networks may have more latent channels and be wider;
all else has to be the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from SynthCTLib.cards import ModelCard, load_card
from SynthCTLib.checkpoint import check_state, read_checkpoint
from SynthCTLib.networks import build_autoencoder, build_controlnet, build_unet, network_shapes
from training.config import Config
from training.patches import PatchSampler
from training.settings import read_settings
from training.widen_autoencoder import widen_autoencoder
from training.widen_denoiser import check_widths, widen, widen_unet

PATCHES, SIDE, PATCH_SEED = 24, 48, 2


def warm_start(config: Config) -> None:
    """Write the starting weights of all three networks.

    Raises:
        InputError: networks that cannot start from the trained ones; the sentence says what has to change.
        ModelError: the trained model is missing or not whole.
    """
    settings = read_settings(config, "warm_start")
    card = load_card(settings["model"])
    folder = Path(settings["folder"])
    networks = config["network"]
    small, large = check_widths(networks["unet"], card.networks["unet"]["arguments"])
    check_widths(networks["controlnet"], card.networks["controlnet"]["arguments"])
    torch.manual_seed(config["seed"])
    unet, controlnet = build_unet(networks["unet"]), build_controlnet(networks["controlnet"])
    widen_unet(unet, trained_state(card, "unet"), small, large, settings["sign"])
    widen(controlnet, trained_state(card, "controlnet"), small, large)
    trained = build_autoencoder(card.networks["autoencoder"]["arguments"])
    trained.load_state_dict(trained_state(card, "autoencoder"))
    patches = PatchSampler(Path(config["prepared"]), "train", config["sampling"])
    autoencoder = build_autoencoder(networks["autoencoder"])
    widen_autoencoder(autoencoder, trained, patches.batch(PATCHES, SIDE, np.random.default_rng(PATCH_SEED)))
    for part, network in (("autoencoder", autoencoder), ("unet", unet), ("controlnet", controlnet)):
        _save(folder / f"{part}.safetensors", network)
    print(f"{folder}: starting weights from {card.id}; its scale factor is {card.latent['scale_factor']:.6g}")


def trained_state(card: ModelCard, part: str) -> dict[str, torch.Tensor]:
    """Weights of one network of a model, in float32, every key and shape checked."""
    path = card.path.parent / card.files[part]["name"]
    state = read_checkpoint(path).state
    check_state(state, network_shapes(part, card.networks[part]["arguments"]), str(path))
    return {key: value.float() for key, value in state.items()}


def _save(path: Path, network: nn.Module) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    weights: dict[str, Any] = {key: value.detach().contiguous() for key, value in network.state_dict().items()}
    save_file(weights, part)
    part.replace(path)
