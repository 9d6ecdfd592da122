"""From stored files to networks that are ready to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from SynthCTLib.acceleration import accelerate
from SynthCTLib.cards import ModelCard
from SynthCTLib.checkpoint import SCALE_FACTOR, check_state
from SynthCTLib.device import decoding_dtype
from SynthCTLib.errors import ModelError
from SynthCTLib.networks import Networks, build_on_meta
from SynthCTLib.store import ModelStore, how_to_get


def load_networks(card: ModelCard, store: ModelStore, device: torch.device, dtype: torch.dtype) -> Networks:
    """Load the networks of a model: strict, evaluation mode, no gradients, on ``device`` in ``dtype``.

    The autoencoder is loaded in float32 where the card asks for that, otherwise in what decodes best; a refiner, whose
    output is the image, always in float32.

    Networks are built without memory of their own and weights are mapped from disk, so on a CPU in the stored precision
    nothing is held twice.

    Raises:
        ModelError: the model is not there, not whole, or not what its card says; the sentence says what to do.
    """
    require_files(card, store)
    parts: dict[str, Any] = {}
    scale = card.latent["scale_factor"]
    for part in card.parts:
        precision = _precision(card, part, device, dtype)
        module, metadata = load_part(card, store, part)
        parts[part] = accelerate(module.to(device=device, dtype=precision))
        if part == "unet" and scale is None:
            scale = _stored_scale(metadata, store.file(card, part), card)
    return Networks(**parts, scale_factor=float(scale))


def _precision(card: ModelCard, part: str, device: torch.device, dtype: torch.dtype) -> torch.dtype:
    if part == "refiner" or (part == "autoencoder" and card.latent.get("decode_in_float32")):
        return torch.float32
    return decoding_dtype(device, dtype) if part == "autoencoder" else dtype


def require_files(card: ModelCard, store: ModelStore) -> None:
    """Raise ModelError, which says what to do, unless all files of a model are in the store."""
    status = store.status(card)
    if status != "ready":
        advice = "install SynthCT again" if card.embedded else how_to_get(card)
        raise ModelError(f"The model {card.id} is {status} in {store.folder(card)}. {advice[0].upper()}{advice[1:]}.")


def load_part(card: ModelCard, store: ModelStore, part: str) -> tuple[torch.nn.Module, dict[str, str]]:
    """One network in evaluation mode without gradients, as stored and on the CPU, and what its file says beside.

    Raises ModelError.
    """
    path = store.file(card, part)
    state, metadata = _read(path, card)
    module = build_on_meta(part, card.networks[part]["arguments"])
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    check_state(state, shapes, f"{path.name} of {card.id}")
    module.load_state_dict(state, strict=True, assign=True)
    return module.requires_grad_(False).eval(), metadata


def _read(path: Path, card: ModelCard) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118 (no iterator)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path.name} of {card.id} cannot be read ({error}). {how_to_get(card)}.") from error


def _stored_scale(metadata: dict[str, str], path: Path, card: ModelCard) -> float:
    try:
        return float(metadata[SCALE_FACTOR])
    except (KeyError, ValueError) as error:
        raise ModelError(f"{path.name} of {card.id} carries no scale factor. {how_to_get(card)}.") from error
