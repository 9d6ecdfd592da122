"""The stages diffusion and controlnet on tiny networks: both families, killed and resumed, fine-tuned."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from SynthCTLib.errors import InputError, ModelError
from Testing.training.killed_stage import run_until_killed
from Testing.training.small_runs import small_config, write_latents
from training.__main__ import main
from training.denoiser import train_controlnet, train_diffusion
from training.files import load_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

STAGES = {"diffusion": train_diffusion, "controlnet": train_controlnet}


def run_folder(folder: Path, family: str = "rflow") -> dict[str, Any]:
    config = small_config(folder, family)
    write_latents(config)
    return config


def saved(config: dict[str, Any], stage: str) -> dict[str, Any]:
    state = load_checkpoint(Path(config["run"]) / f"{stage}.pt")
    assert state is not None
    return state


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether weights, averages and optimizer are the same bits."""
    if one["step"] != other["step"] or one["ema"]["updates"] != other["ema"]["updates"]:
        return False
    pairs = [(one["model"], other["model"]), (one["ema"]["shadow"], other["ema"]["shadow"])]
    pairs += [(one["optimizer"]["state"][n], other["optimizer"]["state"][n]) for n in one["optimizer"]["state"]]
    return all(torch.equal(a[key], b[key]) for a, b in pairs for key in a)


@pytest.mark.parametrize("family", ["rflow", "ddpm"])
def test_a_frozen_trunk_stays_and_controlnet_starts_from_it(tmp_path: Path, family: str) -> None:
    config = run_folder(tmp_path, family)
    with pytest.raises(InputError, match="run the stage 'diffusion' first"):
        train_controlnet(config)
    train_diffusion(config)
    config["controlnet"] |= {"train_unet": False, "lr": 1e-6, "loss": "l1", "batch": 2, "accumulate": 2}
    train_controlnet(config)
    unet, both = saved(config, "diffusion"), saved(config, "controlnet")
    for key, value in unet["ema"]["shadow"].items():
        assert torch.equal(both["model"][key], value), key
    trunk = "down_blocks.0.resnets.0.conv1.conv.weight"
    assert torch.allclose(both["model"][f"controlnet.{trunk}"], unet["ema"]["shadow"][f"unet.{trunk}"], atol=1e-5)
    zero = "controlnet.controlnet_mid_block.conv.weight"
    assert both["model"][zero].any()  # starts at zero, so that ControlNet changes nothing at first, and has learned


def test_both_networks_learn_on_where_the_trunk_is_not_frozen(tmp_path: Path) -> None:
    config = run_folder(tmp_path)
    train_diffusion(config)
    train_controlnet(config)
    unet, both = saved(config, "diffusion"), saved(config, "controlnet")
    key = "unet.conv_in.conv.weight"
    assert not torch.equal(both["model"][key], unet["ema"]["shadow"][key])


@pytest.mark.parametrize(("family", "nothing"), [("rflow", 3.0), ("ddpm", 1.0)])
def test_a_trained_network_predicts_held_out_latents_better_than_nothing_does(
    tmp_path: Path, family: str, nothing: float, capsys: pytest.CaptureFixture[str]
) -> None:
    config = run_folder(tmp_path, family)
    if family == "ddpm":
        config["export"]["card"]["scheduler"]["num_train_timesteps"] = 1000
    fast = {"steps": 16, "val_every": 16, "val_crops": 4, "lr": 1e-2, "draws": 8, "ema": 0.5, "start": "random"}
    config["diffusion"] |= fast
    train_diffusion(config)
    # Latents are around 1 with variance 1: the mean square of x_0 − ε is 1 + 1 + 1, that of ε is 1.
    loss = float(capsys.readouterr().out.split("val_loss=")[1].split()[0])
    assert loss < 0.85 * nothing


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(("stage", "family"), [("diffusion", "rflow"), ("controlnet", "ddpm")])
def test_a_killed_run_goes_on_with_the_draws_of_one_that_was_never_killed(
    tmp_path: Path, stage: str, family: str
) -> None:
    whole, killed = (run_folder(tmp_path / name, family) for name in ("whole", "killed"))
    steps = {"steps": 24, "val_every": 20, "save_seconds": 0, "draws": 1, "batch": 2}
    for config in (whole, killed):
        if stage == "controlnet":
            train_diffusion(config)
            steps |= {"contrast": {"weights": [[0, 0.01], [12, 0.001]], "labels": ["hepatic tumor"]}}
        config[stage] |= steps
    STAGES[stage](whole)
    run_until_killed(killed, stage, saves=10)
    assert saved(killed, stage)["step"] == 10
    STAGES[stage](killed)
    assert equal(saved(killed, stage), saved(whole, stage))


def test_a_checkpoint_of_other_networks_is_refused_in_one_sentence(tmp_path: Path) -> None:
    config = run_folder(tmp_path)
    train_diffusion(config)
    config["network"]["unet"] |= {"num_channels": [16, 16]}
    config["diffusion"]["steps"] = 3
    with pytest.raises(ModelError, match="is of other networks than the config describes"):
        train_diffusion(config)


def test_networks_and_keys_that_do_not_work_are_named(tmp_path: Path) -> None:
    config = run_folder(tmp_path)
    config["network"]["unet"] |= {"num_head_channels": [0, 8, 8]}
    with pytest.raises(InputError, match=r"'network\.unet' of the config does not work"):
        train_diffusion(config)
    del config["network"]["controlnet"]
    with pytest.raises(InputError, match=r"network\.controlnet"):
        train_diffusion(config)


def test_the_command_says_in_one_line_that_there_are_no_latents_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(small_config(tmp_path)))
    monkeypatch.setattr(sys, "argv", ["training", "diffusion", "--config", str(file)])
    assert main() == InputError.exit_code
    error = capsys.readouterr().err
    assert "run the stage 'encode' first" in error and "Traceback" not in error
