"""Stage *md-export*: averaged weights as safetensors and a card of family ``medical-diffusion``.

The folder is what ``synthct generate --model FOLDER`` samples once ``synthct models import --card FOLDER/card.json``
has taken its files into the store.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from SynthCTLib.errors import InputError
from SynthCTLib.model_files import write_weights
from SynthCTLib.volume import Volume
from training.config import Config
from training.export import collect_sources
from training.files import load_checkpoint, write_json
from training.medical_diffusion.latents import require_same_vqgan, trained_vqgan, vqgan_sha256
from training.medical_diffusion.volumes import VolumeSet
from training.provenance import commit
from training.regrid import target_grid


def export(config: Config) -> None:
    """Write ``<export.folder>/{vqgan,denoiser}.safetensors`` and ``card.json``.

    Raises InputError before training, and where the VQ-GAN has changed since: the U-Net does not know its latents.
    """
    c = config["export"]
    folder = Path(c["folder"])
    state = load_checkpoint(Path(config["run"]) / "md-diffusion.pt")
    if state is None:
        raise InputError("There is no diffusion model yet: run the stage 'md-diffusion' first.")
    require_same_vqgan(state, vqgan_sha256(config))
    parts = {"vqgan": trained_vqgan(config).state_dict(), "denoiser": state["ema"]["shadow"]}
    folder.mkdir(parents=True, exist_ok=True)
    files = {part: _write(folder / f"{part}.safetensors", weights) for part, weights in parts.items()}
    network = config["network"]
    card: dict[str, Any] = {
        "schema": 1,
        "family": "medical-diffusion",
        "embedded": False,
        **c["card"],
        "networks": {part: {"arguments": network[part]} for part in parts},
        "files": files,
        "latent": {
            "channels": network["vqgan"]["latent_channels"],
            "downsampling": network["vqgan"]["downsampling"],
            "depth_axis": config["volumes"]["depth_axis"],
        },
        "grid": fixed_grid(**grid_of(config)),
        "sources": collect_sources(VolumeSet(config, "train").cases),
        "training": {"commit": commit(), "command": c["command"]},
    }
    write_json(folder / "card.json", card)
    print(f"exported {sum((folder / file['name']).stat().st_size for file in files.values()) / 1e6:.1f} MB to {folder}")


def fixed_grid(size: list[int], spacing: list[float]) -> dict[str, Any]:
    """The card's section for a model that makes one size at one spacing."""
    x, y, z = size
    plane = [min(spacing[:2]), max(spacing[:2])]
    return {
        "xy": {"choices": sorted({x, y})},
        "z": {"choices": [z]},
        "square": x == y,
        "spacing_xy": plane,
        "spacing_z": [spacing[2], spacing[2]],
        "fov_xy_min": min(x * spacing[0], y * spacing[1]),
        "defaults": {"*": {"size": size, "spacing": spacing}},
    }


def grid_of(config: Config) -> dict[str, Any]:
    """Size in voxels and spacing in mm of the volumes; the mean spacing where a resize makes it differ."""
    volumes = VolumeSet(config, "train")
    spacings = []
    for meta in volumes.cases:
        shape, affine = meta["shape"], np.array(meta["affine"])
        _, placed = target_grid(Volume(np.empty(shape, np.int8), affine), volumes.settings["transform"])
        spacings.append(np.linalg.norm(placed[:3, :3], axis=0))
    return {"size": list(volumes.array(0).shape), "spacing": [round(float(v), 4) for v in np.mean(spacings, axis=0)]}


def _write(path: Path, weights: dict[str, Any]) -> dict[str, Any]:
    """The card's entry of a file, written in float32: codes that are nearest must stay so."""
    sha256 = write_weights(path, weights, half=False, metadata={})
    source = {"url": None, "name": path.name, "sha256": sha256}
    return {"name": path.name, "sha256": None, "bytes": None, "source": source}
