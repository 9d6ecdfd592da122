"""An autoencoder that is trained no step: the weights it starts from are what the later stages and the model have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from SynthCTLib.errors import InputError
from SynthCTLib.model_files import read_json
from SynthCTLib.networks import build_autoencoder, build_controlnet, build_unet
from Testing.training.small_images import autoencoder_config, write_cases
from training.autoencoder import AutoencoderStage, train_autoencoder
from training.config import Config
from training.encode import encode
from training.export import export
from training.files import load_checkpoint, save_checkpoint
from training.trained_networks import trained_networks

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """No steps from a file in half precision, as a model comes with SynthCT; the rest of a run is untrained."""
    write_cases(tmp_path / "prepared")
    config = autoencoder_config(tmp_path, steps=0, start_from=str(tmp_path / "released.safetensors"))
    networks = config["network"]
    torch.manual_seed(5)
    state = build_autoencoder(networks["autoencoder"]).state_dict()
    save_file({key: (value + 0.01).half() for key, value in state.items()}, config["autoencoder"]["start_from"])
    denoiser = {f"unet.{key}": value for key, value in build_unet(networks["unet"]).state_dict().items()}
    denoiser |= {
        f"controlnet.{key}": value for key, value in build_controlnet(networks["controlnet"]).state_dict().items()
    }
    save_checkpoint(Path(config["run"]) / "controlnet.pt", {"ema": {"shadow": denoiser}})
    config["encode"]["scale_factor"] = 1.0
    config["export"]["folder"] = str(tmp_path / "model")
    return config


def start(config: Config) -> dict[str, torch.Tensor]:
    return load_file(config["autoencoder"]["start_from"])


def checkpoint(config: Config) -> Path:
    return Path(config["run"]) / "autoencoder.pt"


def test_the_checkpoint_is_the_start_and_no_optimizer_has_stepped(config: Config) -> None:
    train_autoencoder(config)
    saved = load_checkpoint(checkpoint(config))
    assert saved is not None and saved["step"] == saved["ema"]["updates"] == 0
    assert saved["optimizer"]["state"] == saved["critic_optimizer"]["state"] == {}
    for weights in (saved["model"], saved["ema"]["shadow"]):
        assert weights.keys() == start(config).keys()
        assert all(torch.equal(weights[key], value.float()) for key, value in start(config).items())


def test_encode_samples_and_the_exported_model_have_the_weights_of_the_start_bit_for_bit(config: Config) -> None:
    train_autoencoder(config)
    encode(config)
    assert read_json(Path(config["run"]) / "latents" / "index.json")["autoencoder_step"] == 0
    found = trained_networks(config).autoencoder.state_dict()
    assert all(torch.equal(found[key], value.float()) for key, value in start(config).items())
    export(config)
    exported = load_file(Path(config["export"]["folder"]) / "autoencoder.safetensors")
    assert exported.keys() == start(config).keys()
    assert all(torch.equal(exported[key], value) for key, value in start(config).items())


def test_held_out_cases_are_measured_once_and_a_second_start_changes_nothing(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []
    validate = AutoencoderStage.validate

    def watched(stage: AutoencoderStage, step: int, log: Any) -> None:
        measured.append(step)
        validate(stage, step, log)

    monkeypatch.setattr(AutoencoderStage, "validate", watched)
    train_autoencoder(config)
    written = checkpoint(config).stat().st_mtime_ns
    train_autoencoder(config | {"seed": config["seed"] + 1})  # of which only the critic depends
    assert measured == [0] and checkpoint(config).stat().st_mtime_ns == written


@pytest.mark.parametrize("steps", [0, 1])
def test_weights_of_another_start_or_of_training_are_not_taken_for_the_start(config: Config, steps: int) -> None:
    train_autoencoder(config | {"autoencoder": config["autoencoder"] | {"steps": steps}})
    written = checkpoint(config).read_bytes()
    if steps == 0:
        save_file({key: value + 1 for key, value in start(config).items()}, config["autoencoder"]["start_from"])
    with pytest.raises(InputError, match=r"other weights" if steps == 0 else r"trained for 1 steps"):
        train_autoencoder(config)
    assert checkpoint(config).read_bytes() == written


def test_steps_that_are_asked_for_later_end_where_a_run_without_the_stop_ends(config: Config, tmp_path: Path) -> None:
    longer = config | {"autoencoder": config["autoencoder"] | {"steps": 2}}
    whole = longer | {"run": str(tmp_path / "whole")}
    for part in (config, longer, whole):
        train_autoencoder(part)
    ends = [load_checkpoint(checkpoint(part)) for part in (longer, whole)]
    assert ends[0] is not None and ends[1] is not None and ends[0]["step"] == ends[1]["step"] == 2
    for network in ("model", "critic"):
        assert all(torch.equal(value, ends[1][network][key]) for key, value in ends[0][network].items())
    assert any(not torch.equal(ends[0]["model"][key], value.float()) for key, value in start(config).items())
