"""The networks of a run as they will be exported: averaged weights, on the device and in the precision of sampling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from SynthCTLib.acceleration import accelerate
from SynthCTLib.device import choose_device, inference_dtype
from SynthCTLib.errors import InputError
from SynthCTLib.model_files import sha256_of
from SynthCTLib.networks import BUILDERS, Networks
from training.autoencoder_start import load_weights
from training.config import Config
from training.files import load_checkpoint
from training.latents import read_index

DENOISER = ("unet", "controlnet")


def denoiser_state(run: Path) -> list[str]:
    """SHA-256 of the checkpoints of autoencoder and denoiser: another whenever they are trained further.

    Raises InputError where a stage has not been run yet.
    """
    paths = [run / f"{stage}.pt" for stage in ("autoencoder", "controlnet")]
    if not all(path.is_file() for path in paths):
        raise InputError(f"{run} has no whole model yet: run the stages 'autoencoder' and 'controlnet' first.")
    return [sha256_of(path) for path in paths]


def averaged_weights(run: Path, parts: tuple[str, ...]) -> dict[str, dict[str, torch.Tensor]]:
    """EMA weights of a run's networks; with "refiner" among ``parts`` also of a refiner, if one was trained.

    Raises InputError where a stage has not been run yet, or a refiner is of other networks.
    """
    known = denoiser_state(run)
    autoencoder, denoiser = (load_checkpoint(run / f"{stage}.pt") for stage in ("autoencoder", "controlnet"))
    assert autoencoder is not None and denoiser is not None
    weights: dict[str, dict[str, torch.Tensor]] = {"autoencoder": autoencoder["ema"]["shadow"]}
    for part in DENOISER:
        prefix = part + "."
        weights[part] = {
            k.removeprefix(prefix): v for k, v in denoiser["ema"]["shadow"].items() if k.startswith(prefix)
        }
    refiner = load_checkpoint(run / "refiner.pt") if "refiner" in parts else None
    if refiner is not None:
        if refiner.get("of") != known:
            raise InputError(
                f"The refiner in {run} is of other networks, which were trained since: run 'refiner' again."
            )
        weights["refiner"] = refiner["ema"]["shadow"]
    return weights


def trained_networks(config: Config) -> Networks:
    """Autoencoder, U-Net and ControlNet of the run, in evaluation mode, as users will run them; without refiner.

    Raises InputError where a stage has not been run yet, ModelError where a checkpoint is of another network.
    """
    run = Path(config["run"])
    device = choose_device(config["accelerator"])
    parts: dict[str, Any] = {}
    for part, weights in averaged_weights(run, ()).items():
        network = BUILDERS[part](config["network"][part])
        load_weights(network, weights, f"{part} in {run}")
        precision = torch.float32 if part == "autoencoder" else inference_dtype(device)
        parts[part] = accelerate(network.requires_grad_(False).eval().to(device=device, dtype=precision))
    return Networks(**parts, scale_factor=float(read_index(run)["scale_factor"]))
