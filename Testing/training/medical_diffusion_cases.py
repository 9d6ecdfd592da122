"""A tiny config and tiny prepared volumes for the tests of the Medical Diffusion stages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from training.config import load_config

CONFIG = Path(__file__).parents[2] / "training" / "configs" / "medical_diffusion.json"


def tiny_config(folder: Path) -> dict[str, Any]:
    """The shipped config with networks and volumes that train in a second."""
    config = load_config(CONFIG, [])
    config |= {"prepared": str(folder / "prepared"), "run": str(folder / "run"), "accelerator": "cpu"}
    config["volumes"] |= {"groups": None, "transform": {"crop": [16, 16, 8]}}
    config["network"]["vqgan"] |= {"channels": 4, "decoder_channels": 4, "latent_channels": 3, "codes": 16}
    config["network"]["vqgan"] |= {"downsampling": [2, 4, 4], "norm_groups": 2}
    config["network"]["denoiser"] = {
        "channels": 3,
        "width": 8,
        "multipliers": [1, 2],
        "heads": 2,
        "head_channels": 4,
        "norm_groups": 4,
    }
    config["vqgan"] |= {"precision": "32-true", "steps": 4, "perceptual": 0.0, "adversarial_from": 2, "warmup": 1}
    config["vqgan"] |= {"critic_channels": 4, "critic_layers": 1, "val_every": 2, "adversarial_ramp": 2}
    config["vqgan"] |= {"codebook_decay": 0.9, "restart_every": 5, "save_every": 0}
    config["md-diffusion"] |= {"steps": 4, "batch": 2, "warmup": 1, "val_every": 2, "save_every": 0}
    config["export"]["folder"] = str(folder / "model")
    return config


def write_prepared(config: dict[str, Any], train: int = 3, val: int = 1, **entry: Any) -> None:
    """Prepared cases as the stage *prepare* leaves them: balls of tissue in air, (18, 16, 8) voxels of 3 mm."""
    prepared = Path(config["prepared"])
    cases = []
    for number in range(train + val):
        rng = np.random.default_rng(number)
        grid = np.moveaxis(np.indices((18, 16, 8)), 0, -1)
        inside = np.linalg.norm(grid - rng.uniform(4, 12, 3), axis=-1) < 5
        hu = np.where(inside, rng.normal(40, 30, inside.shape), -1000).astype(np.int16)
        case = f"case{number}"
        (prepared / case).mkdir(parents=True)
        np.save(prepared / case / "ct.npy", hu)
        split = "train" if number < train else "val"
        meta = {"case_id": case, "split": split, "group": "own", "affine": np.diag([3.0, 3, 3, 1]).tolist()}
        meta |= {"collection": "phantoms", "licence": "CC0", "citation": "", "region": ["chest"], "patient": case}
        cases.append({**meta, "spacing": [3.0, 3.0, 3.0], "shape": [18, 16, 8], **entry})
    (prepared / "cases.json").write_text(json.dumps({"cases": cases, "left_out": []}))
