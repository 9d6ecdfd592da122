"""From checkpoints to a model that the engine loads, with a card that claims only what was measured on these files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from SynthCTLib.cards import read_card
from SynthCTLib.errors import InputError
from SynthCTLib.loading import load_networks
from SynthCTLib.networks import build_autoencoder, build_controlnet, build_unet
from SynthCTLib.store import ModelStore
from training.config import load_config
from training.export import export, update_card
from training.files import save_checkpoint, write_json

CONFIG = Path(__file__).parents[2] / "training" / "configs" / "embedded.json"


@pytest.fixture
def config(tmp_path: Path) -> dict:
    """A run folder as the stages leave it, with untrained averaged weights."""
    config = load_config(CONFIG, [])
    run, prepared = tmp_path / "run", tmp_path / "prepared"
    config |= {"run": str(run), "prepared": str(prepared)}
    config["export"]["folder"] = str(tmp_path / "model")
    networks = config["network"]
    autoencoder = build_autoencoder(networks["autoencoder"]).state_dict()
    denoiser = {f"unet.{k}": v for k, v in build_unet(networks["unet"]).state_dict().items()}
    denoiser |= {f"controlnet.{k}": v for k, v in build_controlnet(networks["controlnet"]).state_dict().items()}
    save_checkpoint(run / "autoencoder.pt", {"ema": {"shadow": autoencoder}})
    save_checkpoint(run / "controlnet.pt", {"ema": {"shadow": denoiser}})
    (run / "latents").mkdir()
    latents = [{"split": "train", "shape": [16, 16, 12], "spacing": [3, 3, 4]}]
    write_json(run / "latents" / "index.json", {"scale_factor": 1.5, "latents": latents})
    (prepared / "a").mkdir(parents=True)
    np.save(prepared / "a" / "mask.npy", np.array([[[0, 1, 200]]], np.uint8))
    case = {"case_id": "a", "split": "train", "collection": "C", "licence": "CC BY 4.0", "citation": "Someone 2020"}
    again = case | {"simulated_lesions": ["hepatic tumor"]}
    write_json(prepared / "cases.json", {"cases": [case, again], "left_out": []})
    return config


def test_the_exported_model_is_what_its_card_says_and_small_enough_to_embed(config: dict) -> None:
    export(config)
    folder = Path(config["export"]["folder"])
    card = read_card(folder / "card.json")
    assert ModelStore(folder / "store").verify(card) == []
    assert sum(path.stat().st_size for path in folder.glob("*.safetensors")) < 15_000_000
    assert card.sources == [{"name": "C", "licence": "CC BY 4.0", "citation": "Someone 2020", "cases": 1}]
    assert card.trained_on["labels"] == [1, 200] and card.trained_on["fov_mm"][2] == [192, 192]
    networks = load_networks(card, ModelStore(folder / "store"), torch.device("cpu"), torch.float32)
    assert networks.scale_factor == 1.5
    stored = torch.load(Path(config["run"]) / "controlnet.pt", weights_only=True)["ema"]["shadow"]
    key = "conv_in.conv.weight"
    assert torch.allclose(networks.unet.state_dict()[key], stored[f"unet.{key}"], atol=1e-3)


def test_a_decoder_is_not_exported_with_latents_of_another_autoencoder(config: dict) -> None:
    path = Path(config["run"]) / "latents" / "index.json"
    write_json(path, json.loads(path.read_text()) | {"autoencoder": "0" * 64})
    with pytest.raises(InputError, match="run the stage 'encode' again"):
        export(config)
    assert not Path(config["export"]["folder"]).exists()


def test_a_measurement_of_other_weights_does_not_get_into_the_card(config: dict) -> None:
    export(config)
    card_path = Path(config["export"]["folder"]) / "card.json"
    files = {part: file["sha256"] for part, file in json.loads(card_path.read_text())["files"].items()}
    defaults = config["export"]["card"]["defaults"]
    settings = {name: defaults[name] for name in ("steps", "solver", "temperature")}
    measured = {
        "n": 18,
        "frechet": {"efficientnet-lite0": {}},
        "following": {},
        "reader": "not for the card",
    } | settings
    for changed, known in (({}, True), ({"files": files | {"unet": "0" * 64}}, False), ({"temperature": 2.0}, False)):
        write_json(Path(config["run"]) / "evaluation.json", {"files": files, **measured, **changed})
        export(config)
        quality = json.loads(card_path.read_text())["quality"]
        assert set(quality) == ({"n", "frechet", "following", *settings} if known else set())


def test_the_card_can_be_rewritten_without_checkpoints_and_the_weights_stay(config: dict) -> None:
    export(config)
    folder = Path(config["export"]["folder"])
    before = {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}
    for checkpoint in Path(config["run"]).glob("*.pt"):
        checkpoint.unlink()
    config["export"]["card"]["defaults"]["temperature"] = 0.25
    update_card(config)
    card = read_card(folder / "card.json")
    assert card.defaults["temperature"] == 0.25
    assert ModelStore(folder / "store").verify(card) == []
    assert before == {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}
