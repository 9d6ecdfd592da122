"""A tiny model that takes no segmentation, as the stage *md-export* leaves one: random weights and a card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from SynthCTLib.networks import build_on_meta
from training.config import load_config
from training.medical_diffusion.export import fixed_grid

CONFIG = Path(__file__).parents[2] / "training" / "configs" / "medical_diffusion.json"
VQGAN = {"channels": 4, "latent_channels": 3, "codes": 16, "downsampling": [2, 4, 4], "norm_groups": 2}
DENOISER = {"channels": 3, "width": 8, "multipliers": [1, 2], "heads": 2, "head_channels": 4, "norm_groups": 4}
MR = {"modality": "mr", "intensity": {"hu": [0, 800], "background": 0}}
"""Entries of a card that make its model one of MR."""


def write_exported(folder: Path, **entries: Any) -> list[Path]:
    """Write ``card.json`` of the model ``tiny-volumes``, with these entries, and its networks; returns their files.

    Its volumes have 8 × 16 × 24 voxels, with the depth along the patient's left and right.
    """
    folder.mkdir(parents=True)
    card = load_config(CONFIG, [])["export"]["card"] | {"schema": 1, "family": "medical-diffusion", "embedded": False}
    card |= {"id": "tiny-volumes", "networks": {}, "files": {}, "sources": [], "training": None}
    card["latent"] = {"channels": 3, "downsampling": [2, 4, 4], "depth_axis": 0}
    card["grid"] = fixed_grid([8, 16, 24], [5.0, 2.0, 3.0])
    card["defaults"] |= {"steps": 3}
    generator = torch.Generator().manual_seed(1)
    for part, arguments in (("vqgan", VQGAN), ("denoiser", DENOISER)):
        shapes = {key: value.shape for key, value in build_on_meta(part, arguments).state_dict().items()}
        weights = {key: torch.randn(shape, generator=generator) * 0.2 for key, shape in shapes.items()}
        save_file(weights, folder / f"{part}.safetensors")
        card["networks"][part] = {"arguments": arguments}
        source = {"url": None, "name": f"{part}.safetensors", "sha256": None}
        card["files"][part] = {"name": f"{part}.safetensors", "sha256": None, "bytes": None, "source": source}
    (folder / "card.json").write_text(json.dumps(card | entries), encoding="utf-8")
    return [folder / f"{part}.safetensors" for part in ("vqgan", "denoiser")]
