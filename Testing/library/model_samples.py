"""A model card with tiny networks, and its weights in the layouts in which NVIDIA releases checkpoints."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from SynthCTLib.cards import ModelCard, load_card, read_card
from SynthCTLib.networks import network_shapes

SCALE = 0.84375  # exact in fp16
TINY = {
    "autoencoder": {"num_channels": [8, 8, 8], "num_res_blocks": [1, 1, 1], "norm_num_groups": 4},
    "unet": {"num_channels": [8, 16], "attention_levels": [False, True], "num_head_channels": [0, 8]},
    "controlnet": {
        "num_channels": [8, 16],
        "attention_levels": [False, True],
        "num_head_channels": [0, 8],
        "conditioning_embedding_num_channels": [4, 4, 8],
    },
}
NAMES = {"autoencoder": "autoencoder_v1.pt", "unet": "diff_unet_tiny.pt", "controlnet": "controlnet_tiny.pt"}


def tiny_card(folder: Path, **changes: Any) -> ModelCard:
    """The card of NV-Generate-CT (rflow) with small widths, written to ``folder/card.json``; keys can be replaced."""
    data = json.loads(json.dumps(load_card("nv-generate-ct-rflow").to_json()))
    data["id"] = "tiny"
    for part, arguments in TINY.items():
        data["networks"][part]["arguments"].update(arguments)
        data["files"][part]["source"]["name"] = NAMES[part]
        if part != "autoencoder":
            data["networks"][part]["arguments"].update(num_res_blocks=1, norm_num_groups=4)
    data.update(changes)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.json").write_text(json.dumps(data), encoding="utf-8")
    return read_card(folder / "card.json")


@lru_cache(maxsize=16)
def shapes_of(part: str, arguments: str) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of a network from its arguments as JSON; cached, since building takes most of a test's time."""
    return network_shapes(part, json.loads(arguments))


def random_state(card: ModelCard, part: str, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights of one part of a model."""
    generator = torch.Generator().manual_seed(seed)
    shapes = shapes_of(part, json.dumps(card.networks[part]["arguments"]))
    return {key: torch.randn(shape, generator=generator) * 0.05 for key, shape in shapes.items()}


def released(part: str, state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """What NVIDIA's file of this part contains."""
    if part == "autoencoder":
        return state
    common = {"epoch": 99, "loss": 0.125, f"{part}_state_dict": state, "optimizer": {"state": {0: torch.zeros(5)}}}
    if part == "controlnet":
        return common
    return common | {"num_train_timesteps": 1000, "scale_factor": torch.tensor(SCALE, dtype=torch.float16)}


def write_released(card: ModelCard, folder: Path, seed: int = 0) -> dict[str, Path]:
    """Write all three parts in released layout; the path of each."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {part: folder / name for part, name in NAMES.items()}
    for part, path in paths.items():
        torch.save(released(part, random_state(card, part, seed)), path)
    return paths
