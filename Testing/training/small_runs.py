"""A run folder as the stage *encode* leaves it, and a config with the smallest networks of each family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from training.config import load_config

CONFIG = Path(__file__).parents[2] / "training" / "configs" / "embedded.json"
CHANNELS = 4
TRUNK = {
    "spatial_dims": 3,
    "in_channels": CHANNELS,
    "num_channels": [8, 16],
    "attention_levels": [False, True],
    "num_head_channels": [0, 8],
    "num_res_blocks": 1,
    "norm_num_groups": 4,
    "use_flash_attention": False,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "rflow": {
        "trunk": {"num_class_embeds": 128, "resblock_updown": True, "include_fc": True},
        "unet": {},
        "scheduler": {"num_train_timesteps": 1000, "use_discrete_timesteps": False, "use_timestep_transform": True},
        "defaults": {"steps": 2, "solver": "euler", "guidance": 0.0, "temperature": 1.0},
    },
    "ddpm": {
        "trunk": {"resblock_updown": False, "include_fc": False},
        "unet": {"include_top_region_index_input": True, "include_bottom_region_index_input": True},
        "scheduler": {
            "num_train_timesteps": 20,
            "beta_start": 0.0015,
            "beta_end": 0.0195,
            "schedule": "scaled_linear_beta",
            "clip_sample": False,
        },
        "defaults": {"steps": 20, "solver": "ddpm", "guidance": 0.0, "temperature": 1.0},
    },
}
SMALL = {
    "steps": 2,
    "warmup": 1,
    "draws": 2,
    "crops": [[4, 4, 4]],
    "weights": {"other": 1},
    "val_every": 2,
    "val_crops": 1,
}


def small_config(folder: Path, family: str = "rflow") -> dict[str, Any]:
    """The embedded model's config with tiny networks (MAISI's 8 mask channels), two steps and a run in ``folder``."""
    config = load_config(CONFIG, [])
    parts = FAMILIES[family]
    trunk = TRUNK | parts["trunk"]
    config["network"]["autoencoder"] |= {
        "latent_channels": CHANNELS,
        "num_channels": [4, 8, 8],
        "num_res_blocks": [1] * 3,
    }
    config["network"]["unet"] = trunk | {"out_channels": CHANNELS, "include_spacing_input": True} | parts["unet"]
    config["network"]["controlnet"] = trunk | {
        "conditioning_embedding_in_channels": 8,
        "conditioning_embedding_num_channels": [4, 4, 8],
        "use_checkpointing": False,
    }
    config["export"]["card"] |= {"family": family, "scheduler": parts["scheduler"], "defaults": parts["defaults"]}
    config["export"]["card"].pop("presets")
    config |= {"run": str(folder / "run"), "prepared": str(folder / "prepared")}
    config |= {"seed": 1, "accelerator": "cpu", "devices": 1, "precision": "32-true"}
    for stage in ("diffusion", "controlnet"):
        config[stage] |= SMALL
    return config


def chest_mask(shape: tuple[int, int, int] = (32, 32, 32)) -> np.ndarray:
    """Body, lungs on both sides, a liver with a tumor in it; MAISI ids."""
    x, y, z = shape
    mask = np.full(shape, 200, np.uint8)
    mask[: x // 8] = 0
    mask[x // 8 : x // 2, y // 4 :, z // 2 :] = 28
    mask[x // 2 :, y // 4 :, z // 2 :] = 30
    mask[x // 4 :, y // 4 :, : z // 2] = 1
    mask[x // 2 : x // 2 + 6, y // 2 : y // 2 + 6, z // 4 : z // 4 + 6] = 26
    return mask


def write_latents(
    config: dict[str, Any], shapes: dict[str, tuple[int, int, int]] | None = None, mask: np.ndarray | None = None
) -> None:
    """Latents of noise around 1 by file stem (first word: the split) and size; :func:`chest_mask` or another mask."""
    folder = Path(config["run"]) / "latents"
    folder.mkdir(parents=True)
    entries = []
    for number, (name, shape) in enumerate((shapes or {"train_a": (8, 8, 8), "val_a": (8, 8, 8)}).items()):
        latent = np.random.default_rng(number).normal(1.0, size=(CHANNELS, *shape)).astype(np.float16)
        x, y, z = (4 * n for n in shape)
        labels = chest_mask((x, y, z)) if mask is None else mask
        np.savez(folder / f"{name}.npz", latent=latent, mask=labels, spacing=np.array([3, 3, 4], np.float32))
        entry = {"file": f"{name}.npz", "case_id": name, "split": name.split("_")[0], "kind": "other", "shape": shape}
        entries.append(entry | {"spacing": [3, 3, 4]})
    (folder / "index.json").write_text(json.dumps({"scale_factor": 1.0, "autoencoder_step": 1, "latents": entries}))
