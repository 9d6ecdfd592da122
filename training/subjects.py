"""What is judged: the exported model, the trivial painter, or the autoencoder alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from SynthCTLib.cards import load_card
from SynthCTLib.conditions import build_conditions
from SynthCTLib.decoder import decode_latent
from SynthCTLib.device import choose_device, inference_dtype
from SynthCTLib.embedding import embed_labels
from SynthCTLib.encoder import encode_image
from SynthCTLib.errors import InputError
from SynthCTLib.image import latent_to_image
from SynthCTLib.intensity import unit_to_hu
from SynthCTLib.loading import load_networks
from SynthCTLib.networks import Networks
from SynthCTLib.regions import region_from_labels
from SynthCTLib.sampler import sample_latent
from SynthCTLib.store import ModelStore
from training.config import Config
from training.intensities import hu_to_unit
from training.painter import measure_palette, paint
from training.scans import Scan

Maker = Callable[[Scan, int], np.ndarray]  # a real scan and a seed → int16 HU on its grid


@dataclass
class Subject:
    """``make`` turns a held-out case into a CT; ``settings`` are all that its result depends on."""

    make: Maker
    settings: dict[str, Any] = field(default_factory=dict)


def synthesize(
    networks: Networks, card: Any, mask: np.ndarray, spacing: np.ndarray, seed: int, steps: int
) -> np.ndarray:
    """int16 HU generated from a mask with the engine's own functions."""
    latent = sampled_latent(
        networks, card.conditioning, card.scheduler, card.defaults | {"steps": steps}, mask, spacing, seed
    )
    return unit_to_hu(latent_to_image(networks, latent, mask).unit, card.intensity, mask)


def sampled_latent(
    networks: Networks,
    conditioning: Mapping[str, Any],
    scheduler: Mapping[str, Any],
    settings: Mapping[str, Any],
    mask: np.ndarray,
    spacing: np.ndarray,
    seed: int,
) -> torch.Tensor:
    """The latent (1, C, x, y, z) of a mask; ``conditioning`` and ``scheduler`` of a card, its defaults."""
    embedding = embed_labels(networks.controlnet, torch.from_numpy(mask), conditioning["hu_prior"])
    region = region_from_labels(np.unique(mask).tolist())
    conditions = build_conditions(conditioning, [float(s) for s in spacing], region)
    return sample_latent(
        networks,
        embedding,
        conditions,
        scheduler=scheduler,
        seed=seed,
        steps=settings["steps"],
        solver=settings["solver"],
        temperature=settings.get("temperature", 1.0),
    )


def reconstruct(networks: Networks, card: Any, hu: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Real CT through encoder and decoder: what the decoder allows at best."""
    latent = encode_image(networks.autoencoder, hu_to_unit(torch.from_numpy(hu.astype(np.float32))))
    return unit_to_hu(decode_latent(networks.autoencoder, latent, 1.0), card.intensity, mask)


def build_subject(config: Config) -> Subject:
    """The subject that ``evaluate.subject`` names: ``model``, ``painter`` or ``reconstruction``.

    Raises:
        InputError: another name.
    """
    name = config["evaluate"]["subject"]
    if name == "painter":
        palette = measure_palette(Path(config["prepared"]))
        return Subject(lambda scan, seed: paint(_mask(scan), palette, seed), {"palette": palette})
    if name not in ("model", "reconstruction"):
        raise InputError(
            f"'{name}' is neither model, painter, reconstruction nor a folder with CTs (evaluate.subject)."
        )
    card = load_card(config["export"]["folder"])
    device = choose_device("auto")
    networks = load_networks(card, ModelStore(), device, inference_dtype(device))  # as users run it
    files = {"model": card.id, "files": {part: file["sha256"] for part, file in card.files.items()}}
    if name == "reconstruction":
        return Subject(lambda scan, seed: reconstruct(networks, card, scan.hu, _mask(scan)), files)
    steps = config["evaluate"]["steps"]
    settings = {"steps": steps, "solver": card.defaults["solver"], "temperature": card.defaults.get("temperature", 1.0)}
    return Subject(
        lambda scan, seed: synthesize(networks, card, _mask(scan), np.asarray(scan.spacing), seed, steps),
        files | settings,
    )


def _mask(scan: Scan) -> np.ndarray:
    if scan.mask is None:
        raise InputError(f"The case {scan.name} has no label map to make a CT from.")
    return scan.mask
