"""NVIDIA's released checkpoints, full size: our cards build exactly their networks, and their files go all the way.

The weights themselves cannot be had for a test, but every key and shape is public. The digests below are SHA-256 over
the sorted lines ``<key> <d>x<d>…`` of each released state dict.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from SynthCTLib.cards import PARTS, ModelCard, load_card
from SynthCTLib.checkpoint import check_state, closest_part, read_checkpoint
from SynthCTLib.errors import ModelError
from SynthCTLib.job import Job
from SynthCTLib.loading import load_networks
from SynthCTLib.networks import network_shapes
from SynthCTLib.pipeline import generate
from SynthCTLib.store import ModelStore

RFLOW, DDPM = "nv-generate-ct-rflow", "nv-generate-ct-ddpm"
AUTOENCODER = "aaaac928cb6cfb3c9c875bf13247dfc575cd76a8d7c525efad498df60ccc1fec"
RELEASED = [
    (RFLOW, "autoencoder", 130, 20_944_897, AUTOENCODER),
    (RFLOW, "unet", 435, 180_500_868, "27f693733f7a05acc2f31fda4b582f17b859c344253dbe76b230536789e44fa0"),
    (RFLOW, "controlnet", 231, 72_037_072, "07d5a5d482f81977eb7d63982c69031d63fc2adec8741462fa91dbd9898fe378"),
    (DDPM, "autoencoder", 130, 20_944_897, AUTOENCODER),
    (DDPM, "unet", 372, 169_370_884, "24c1e7e4baf251adfbb06f0a4a4c9437abb0a92f30dbd73338207468ccd1e61d"),
    (DDPM, "controlnet", 196, 68_644_944, "49e1bcb3d768a1e29d6b5140a741ea1cccf7b355a6c596a01be345a6e635c3c9"),
]


def shapes(card_id: str, part: str) -> dict[str, tuple[int, ...]]:
    return network_shapes(part, load_card(card_id).networks[part]["arguments"])


def hollow(card_id: str, part: str) -> dict[str, torch.Tensor]:
    """Full-size weights that share one stored number, so that a file of them is small."""
    number = torch.zeros(1)
    return {key: number.expand(shape) for key, shape in shapes(card_id, part).items()}


def layouts(part: str, state: dict[str, torch.Tensor]) -> list[dict[str, Any]]:
    """The layouts in which this part has been released."""
    training = {"epoch": 200, "loss": 0.0625}
    if part == "autoencoder":
        return [state, {"unet_state_dict": state}]
    if part == "controlnet":
        return [training | {"controlnet_state_dict": state}]
    training |= {"num_train_timesteps": 1000, "unet_state_dict": state, "optimizer": {"param_groups": [{"lr": 1e-5}]}}
    return [training | {"scale_factor": torch.tensor(1.0625, dtype=dtype)} for dtype in (torch.float32, torch.float16)]


@pytest.mark.parametrize(("card_id", "part", "keys", "parameters", "digest"), RELEASED)
def test_the_cards_build_the_released_networks_key_by_key(
    card_id: str, part: str, keys: int, parameters: int, digest: str
) -> None:
    found = shapes(card_id, part)
    assert len(found) == keys
    assert sum(math.prod(shape) for shape in found.values()) == parameters
    lines = "\n".join(f"{key} {'x'.join(map(str, shape))}" for key, shape in sorted(found.items()))
    assert hashlib.sha256(lines.encode()).hexdigest() == digest


@pytest.mark.parametrize("card_id", [RFLOW, DDPM])
@pytest.mark.parametrize("part", PARTS)
def test_every_released_layout_is_read_and_recognized_at_full_size(tmp_path: Path, card_id: str, part: str) -> None:
    expected = {name: shapes(card_id, name) for name in PARTS}
    for number, content in enumerate(layouts(part, hollow(card_id, part))):
        path = tmp_path / f"{number}.pt"
        torch.save(content, path)
        checkpoint = read_checkpoint(path)
        assert closest_part(checkpoint.state, expected) == part
        check_state(checkpoint.state, expected[part])
        assert checkpoint.scale_factor == (1.0625 if part == "unet" else None)


@pytest.mark.parametrize("part", ["unet", "controlnet"])
def test_files_of_the_other_model_are_refused(tmp_path: Path, part: str) -> None:
    path = tmp_path / "file.pt"
    torch.save(layouts(part, hollow(DDPM, part))[0], path)
    with pytest.raises(ModelError, match=rf"taken as the {part} of {RFLOW}, does not fit: .* missing .*class_emb"):
        ModelStore(tmp_path / "store").import_files(load_card(RFLOW), [path])


def with_small_grid(card: ModelCard, folder: Path) -> Path:
    """``card.json`` of the same model that allows a grid of 32³, which the released one does not."""
    side = {"multiple": 32, "min": 32, "max": 32}
    grid = {"xy": side, "z": side, "square": True, "spacing_xy": [8, 24], "spacing_z": [8, 24], "fov_xy_min": 0}
    grid["defaults"] = {"*": {"size": [32, 32, 32], "spacing": [12, 12, 12]}}
    folder.mkdir()
    (folder / "card.json").write_text(json.dumps(card.to_json() | {"grid": grid}), encoding="utf-8")
    return folder / "card.json"


def random_weight(key: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Half precision; norms pass their input on and the image's bias is mid-gray, so that no CT is all air."""
    if len(shape) == 1 and key.endswith("weight"):
        return torch.ones(shape, dtype=torch.float16)
    if key.startswith("decoder") and shape == (1,):
        return torch.full(shape, 0.5, dtype=torch.float16)
    return torch.randn(shape, generator=generator).mul_(0.02).half()


@pytest.mark.slow
@pytest.mark.parametrize("card_id", [RFLOW, DDPM])
def test_full_size_random_weights_go_from_released_files_to_a_ct(tmp_path: Path, phantom: Path, card_id: str) -> None:
    card = load_card(card_id)
    store = ModelStore(tmp_path / "store")
    generator = torch.Generator().manual_seed(7)
    probe: dict[str, tuple[str, torch.Tensor]] = {}
    for part in PARTS:
        state = {key: random_weight(key, shape, generator) for key, shape in shapes(card_id, part).items()}
        probe[part] = next((key, value.clone()) for key, value in reversed(state.items()) if value.ndim > 1)
        path = tmp_path / card.files[part]["source"]["name"]
        torch.save(layouts(part, state)[-1], path)
        del state
        store.import_files(card, [path], half=True)
        path.unlink()
    assert store.status(card) == "ready" and store.verify(card) == []

    networks = load_networks(card, store, torch.device("cpu"), torch.float32)
    assert networks.scale_factor == 1.0625
    for part, (key, value) in probe.items():
        assert torch.equal(getattr(networks, part).state_dict()[key], value.float())
    del networks
    small = with_small_grid(card, tmp_path / "small")
    job = Job(phantom, tmp_path / "out", str(small), labels="maisi", seed=1, steps=2, device="cpu")
    (ct,) = generate(job, store=store).cts
    image = nib.load(ct.folder / "ct.nii.gz")
    assert image.shape == (32, 32, 32) and np.asarray(image.dataobj).std() > 0
