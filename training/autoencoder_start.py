"""The autoencoder's weights before its first step, and how trained ones are found again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from torch import nn

from SynthCTLib.checkpoint import check_state, read_checkpoint
from SynthCTLib.errors import InputError, ModelError
from SynthCTLib.networks import build_autoencoder
from training.files import load_checkpoint
from training.linear_start import linear_start


def new_autoencoder(arguments: Mapping[str, Any]) -> AutoencoderKlMaisi:
    """An untrained network. Raises InputError for arguments that MONAI's class does not take."""
    try:
        return build_autoencoder(dict(arguments))
    except (TypeError, ValueError) as error:
        raise InputError(f"'network.autoencoder' of the config does not work: {error}") from error


def set_start(model: AutoencoderKlMaisi, settings: Mapping[str, Any], patches: torch.Tensor) -> None:
    """Weights as ``start`` and ``start_from`` of the config say; ``patches`` (N, 1, P, P, P) in the unit range.

    A checkpoint is read without executing anything in it, and must have every key and shape of the network.

    Raises:
        ModelError: the checkpoint is missing, unsafe, or of another network.
        InputError: the network cannot start from principal components.
    """
    if settings["start_from"]:
        load_weights(model, read_checkpoint(settings["start_from"]).state, Path(settings["start_from"]).name)
    elif settings["start"] == "linear":
        try:
            linear_start(model, patches)
        except (ValueError, IndexError, RuntimeError) as error:
            raise InputError(
                f"This network cannot start from principal components ({error}); choose autoencoder.start=random."
            ) from error


def trained_autoencoder(run: Path, arguments: Mapping[str, Any]) -> tuple[AutoencoderKlMaisi, int]:
    """The averaged weights of the stage *autoencoder*, in evaluation mode, and the step they are from.

    Raises InputError if there are none yet, ModelError if they are of another network.
    """
    path = run / "autoencoder.pt"
    state = load_checkpoint(path)
    if state is None:
        raise InputError(f"There is no autoencoder in {run} yet: run the stage 'autoencoder' first.")
    model = new_autoencoder(arguments)
    load_weights(model, state["ema"]["shadow"], str(path))
    return model.eval(), int(state["step"])


def load_weights(model: nn.Module, weights: Mapping[str, torch.Tensor], what: str) -> None:
    """Load weights strictly. Raises ModelError that names the first keys that do not fit."""
    check_state(weights, {key: tuple(value.shape) for key, value in model.state_dict().items()}, what)
    try:
        model.load_state_dict({key: value.float() for key, value in weights.items()})
    except RuntimeError as error:
        raise ModelError(f"{what} cannot be loaded: {error}") from error
