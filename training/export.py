"""Stage *export*: averaged weights as half-precision safetensors and a model card with all that was measured."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from SynthCTLib.cards import read_card
from SynthCTLib.errors import InputError
from SynthCTLib.model_files import write_weights
from training.config import Config
from training.files import write_json
from training.latents import read_index
from training.model_conditions import conditioning_of
from training.prepare import read_cases
from training.provenance import commit
from training.settings import require_keys
from training.trained_networks import averaged_weights

SETTINGS = ("steps", "solver", "temperature")
"""What a measurement depends on besides the weights."""

QUALITY = (
    "n",
    "data",
    "command",
    "commit",
    *SETTINGS,
    "frechet",
    "organ_hu_in_range",
    "organ_median_error_hu",
    "following",
    "memorization",
    "labeled_training_cases",
)
"""The parts of the scorecard that the card repeats."""


def write_part(folder: Path, part: str, weights: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Save one network in half precision; returns the card's entry for the file."""
    path = folder / f"{part}.safetensors"
    digest = write_weights(path, weights, half=True, metadata={})
    return {"name": path.name, "sha256": digest, "bytes": path.stat().st_size, "source": None}


def collect_sources(cases: list[dict]) -> list[dict[str, Any]]:
    """One entry per collection of the training cases: licence, citation and number of cases.

    A version with simulated lesions is no case of its own.
    """
    groups: dict[tuple[str, str, str], int] = defaultdict(int)
    for meta in cases:
        groups[meta["collection"], meta["licence"], meta["citation"]] += "simulated_lesions" not in meta
    return [{"name": n, "licence": lic, "citation": cite, "cases": k} for (n, lic, cite), k in sorted(groups.items())]


def trained_range(latents: list[dict[str, Any]], prepared: Path) -> dict[str, Any]:
    """Labels and fields of view (5th to 95th percentile over the encoded volumes) that training has seen.

    ``latents``: those of the index.
    """
    views = np.array([np.array(e["shape"]) * 4 * np.array(e["spacing"]) for e in latents if e["split"] == "train"])
    low, high = np.percentile(views, 5, axis=0), np.percentile(views, 95, axis=0)
    labels: set[int] = set()
    for meta in read_cases(prepared, "train"):
        labels.update(np.unique(np.load(prepared / meta["case_id"] / "mask.npy")).tolist())
    return {
        "labels": sorted(labels - {0}),
        "regions": ["head", "chest", "abdomen", "pelvis"],
        "fov_mm": [[round(float(a)), round(float(b))] for a, b in zip(low, high, strict=True)],
    }


def quality_of(run: Path, files: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """What the stage *evaluate* measured on exactly these files at these defaults; empty if it has not."""
    path = run / "evaluation.json"
    if not path.is_file():
        return {}
    report = json.loads(path.read_text(encoding="utf-8"))
    if report["files"] != {part: file["sha256"] for part, file in files.items()}:
        return {}
    if any(report[name] != defaults[name] for name in SETTINGS):
        return {}
    return {key: report[key] for key in QUALITY if key in report}


def export(config: Config) -> None:
    """Write ``<export.folder>/{autoencoder,unet,controlnet}.safetensors``, a trained refiner's too, and ``card.json``.

    With ``"embedded": false`` in the card's words, these are what ``synthct models import`` takes. Raises InputError if
    a stage before has not been run or the latents are of another autoencoder, ModelError if the config's words make no
    valid card.
    """
    require_keys(config, "run", "prepared", "network", "export.folder", "export.card.defaults", "export.command")
    c = config["export"]
    run, prepared, folder = Path(config["run"]), Path(config["prepared"]), Path(c["folder"])
    networks, index = averaged_weights(run, tuple(config["network"])), read_index(run)
    if "refiner" in config["network"] and "refiner" not in networks:
        print(f"{run} has no trained refiner: the model is exported without one")
    folder.mkdir(parents=True, exist_ok=True)
    files = {part: write_part(folder, part, weights) for part, weights in networks.items()}
    card = {
        **c["card"],
        "networks": {part: {"arguments": config["network"][part]} for part in networks},
        "files": files,
        "latent": {
            "channels": config["network"]["autoencoder"]["latent_channels"],
            "downsampling": 4,
            "scale_factor": index["scale_factor"],
            "decode_in_float32": True,
        },
        "conditioning": conditioning_of(config["network"]),
        "trained_on": trained_range(index["latents"], prepared),
        "sources": collect_sources(read_cases(prepared, "train")),
        "training": {"commit": commit(), "command": c["command"]},
        "quality": quality_of(run, files, c["card"]["defaults"]),
    }
    write_json(folder / "card.json", card)
    read_card(folder / "card.json")
    print(f"exported {sum(f['bytes'] for f in files.values()) / 1e6:.1f} MB to {folder}")


def update_card(config: Config) -> None:
    """Stage *card*: words, defaults and measured quality anew, in the card of weights that stay as they are.

    Raises InputError where nothing has been exported yet.
    """
    require_keys(config, "run", "export.folder", "export.card.defaults")
    path = Path(config["export"]["folder"]) / "card.json"
    if not path.is_file():
        raise InputError(f"There is no {path} yet: run the stage 'export' first.")
    card = json.loads(path.read_text(encoding="utf-8"))
    words = config["export"]["card"]
    measured = quality_of(Path(config["run"]), card["files"], words["defaults"])
    write_json(path, card | words | {"quality": measured})
    print(f"{path}: {'with' if measured else 'WITHOUT'} a measurement of these weights at these settings")
