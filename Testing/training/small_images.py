"""Prepared cases of a few thousand voxels, and a config that trains the smallest autoencoder on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from Testing.training.small_runs import small_config
from training.files import write_json

SHAPE = (40, 36, 32)
LIVER = (slice(10, 20), slice(10, 20), slice(10, 20))


def write_cases(prepared: Path, modality: str = "ct", count: int = 3) -> None:
    """``count`` cases, the first held out: an ellipsoid with a texture, a liver in it, air around."""
    cases = []
    for number in range(count):
        rng = np.random.default_rng(number)
        grids = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
        body = sum(g**2 for g in grids) < 0.8
        texture = 200 * np.sin(5 * grids[0] + rng.uniform(0, 3)) * (grids[1] > 0) + rng.normal(0, 15, SHAPE)
        image = np.where(body, 40 + texture, -1000 if modality == "ct" else 0)
        mask = np.where(body, 200, 0).astype(np.uint8)
        mask[LIVER], image[LIVER] = 1, 60
        folder = prepared / f"case_{number}"
        folder.mkdir(parents=True)
        np.save(folder / f"{modality[:2]}.npy", image.astype(np.int16))
        np.save(folder / "mask.npy", mask)
        words = {"group": "own", "modality": modality, "spacing": [3.0, 3.0, 4.0], "has_many_organ_labels": False}
        origin = {"collection": "test", "licence": "CC0", "citation": "made in a test"}
        cases.append({"case_id": f"case_{number}", "split": "train" if number else "val", **words, **origin})
    write_json(prepared / "cases.json", {"cases": cases, "left_out": []})


def autoencoder_config(folder: Path, **settings: Any) -> dict[str, Any]:
    """Two steps of MAISI's whole recipe but for the perceptual term; cases are to lie in ``folder``/prepared."""
    config = small_config(folder)
    config["network"]["autoencoder"] |= {"norm_num_groups": 1, "use_convtranspose": True}
    config |= {"sampling": {"other": 1}}
    config["autoencoder"] |= {
        "start": "random", "train_encoder": True, "adversarial_trains_encoder": True, "steps": 2, "batch": 1,
        "patch": 16, "val_every": 100, "val_patches": 1, "window_l1": 0, "edges_l1": 0, "kl": 1e-7, "kl_per": "patch",
        "lr_stages": [[0, 1]], "lr": 1e-3, "critic_lr": 1e-3, "adversarial_weight": 0.1, "adversarial_from": 1,
        "adversarial_cap": 0.5, "critic_clip": 1.0, "critic_channels": 4, "critic_layers": 1, **settings,
    }  # fmt: skip
    config["encode"] |= {"versions": {"rich": 1, "other": 2}, "native": []}
    return config
