"""The whole autoencoder stage: the paper's loss with its perceptual term, quality of held-out cases, fine-tuning."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from SynthCTLib.cards import load_card
from SynthCTLib.errors import ModelError, SynthCTError
from Testing.training.small_images import autoencoder_config, write_cases
from training.__main__ import main
from training.autoencoder import train_autoencoder
from training.autoencoder_quality import image_scores, organ_bias
from training.config import load_config
from training.files import load_checkpoint

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "training" / "configs" / "maisi-autoencoder.json"
AUGMENT = {"probability": 0.5, "zoom": [0.5, 1.5], "rotation": 0.1, "intensity_scale": 0.1, "intensity_shift": 0.05}


def scalars(run: Path) -> dict[str, float]:
    """The last value of each curve in TensorBoard."""
    events = EventAccumulator(str(run / "tensorboard" / "autoencoder"))
    events.Reload()
    return {tag: events.Scalars(tag)[-1].value for tag in events.Tags()["scalars"]}


@pytest.mark.parametrize("modality", ["ct", "mri_t1"])
def test_a_run_of_the_whole_recipe_measures_held_out_cases(tmp_path: Path, modality: str) -> None:
    write_cases(tmp_path / "prepared", modality)
    config = autoencoder_config(
        tmp_path, perceptual=0.3, perceptual_slices=1, augment=AUGMENT, quality_cases=5, val_every=1
    )
    train_autoencoder(config)
    run = Path(config["run"])
    quality = json.loads((run / "autoencoder-quality.json").read_text())
    assert quality["n"] == 1 and quality["cases"] == ["case_0"] and quality["step"] == 2
    assert quality["psnr"]["mean"] > 0 and -1 < quality["ssim"]["mean"] < 1 and quality["perceptual"]["mean"] > 0
    assert quality["commit"] and quality["command"] and len(quality["data"]) == 64
    assert ("liver" in quality["organ_bias_hu"]) == (modality == "ct")  # there are no HU in MR
    found = scalars(run)
    assert {"val_psnr", "val_ssim", "val_perceptual", "quality/psnr"} <= set(found)
    assert ("organ_bias_hu/liver" in found) == (modality == "ct")


def test_quality_scores_and_bias_are_what_they_say() -> None:
    target = torch.rand(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    same, off = image_scores(target, target, None), image_scores(target + 0.1, target, None)
    assert same["ssim"] == pytest.approx(1) and off["psnr"] == pytest.approx(20, abs=1e-3)
    mask = np.zeros((12, 12, 12), np.uint8)
    mask[:6], mask[6:] = 1, 200
    real = np.random.default_rng(0).normal(60, 10, mask.shape)
    assert organ_bias(real + np.where(mask == 1, -30, 99), real, mask) == {1: pytest.approx(-30)}


def released(folder: Path, arguments: dict[str, Any], wrapped: bool) -> tuple[Path, dict[str, torch.Tensor]]:
    """A file as NVIDIA releases the autoencoder, with random weights."""
    from SynthCTLib.networks import build_autoencoder

    torch.manual_seed(5)
    state = {key: value + 0.01 for key, value in build_autoencoder(arguments).state_dict().items()}
    path = folder / "autoencoder_v1.pt"
    torch.save({"epoch": 3, "unet_state_dict": state} if wrapped else state, path)
    return path, state


@pytest.mark.parametrize("wrapped", [False, True])
def test_fine_tuning_starts_from_a_released_checkpoint(tmp_path: Path, wrapped: bool) -> None:
    write_cases(tmp_path / "prepared")
    config = autoencoder_config(tmp_path, steps=1, lr=1e-9, adversarial_from=0)
    path, state = released(tmp_path, config["network"]["autoencoder"], wrapped)
    config["autoencoder"]["start_from"] = str(path)
    train_autoencoder(config)
    after = load_checkpoint(Path(config["run"]) / "autoencoder.pt")
    assert after is not None and after["model"].keys() == state.keys()
    moved = {key: (after["model"][key] - value).abs().max().item() for key, value in state.items()}
    assert max(moved.values()) < 1e-6  # a step of 1e-9 from the file's weights, not from others
    assert any(moved[key] > 0 for key in moved)


def test_a_checkpoint_of_another_layout_or_with_code_in_it_is_refused(tmp_path: Path) -> None:
    write_cases(tmp_path / "prepared")
    config = autoencoder_config(tmp_path, start_from=str(tmp_path / "x.pt"))
    torch.save({"encoder.blocks.0.conv.conv.weight": torch.zeros(1)}, tmp_path / "x.pt")
    with pytest.raises(ModelError, match="does not fit"):
        train_autoencoder(config)
    torch.save({"unet_state_dict": Path("x")}, tmp_path / "x.pt")
    with pytest.raises(ModelError, match="was refused"):
        train_autoencoder(config)


@pytest.mark.slow
def test_a_full_size_released_checkpoint_is_fine_tuned_for_a_step(tmp_path: Path) -> None:
    write_cases(tmp_path / "prepared")
    arguments = load_config(RECIPE, [])["network"]["autoencoder"]
    card = load_card("nv-generate-ct-rflow").networks["autoencoder"]["arguments"]
    path, state = released(tmp_path, card, wrapped=False)
    config = autoencoder_config(tmp_path, steps=1, start_from=str(path), lr=1e-5, adversarial_from=0)
    config["network"]["autoencoder"] = arguments
    train_autoencoder(config)
    after = load_checkpoint(Path(config["run"]) / "autoencoder.pt")
    assert after is not None and sum(value.numel() for value in after["model"].values()) == 20_944_897
    assert all(torch.allclose(after["model"][key], value, atol=2e-5) for key, value in state.items())
    assert any(not torch.equal(after["model"][key], value) for key, value in state.items())


def mistakes(config: dict[str, Any]) -> list[tuple[dict[str, Any], str, int]]:
    """Changes of a config that users make, what they are told, and the exit code."""
    settings = config["autoencoder"]
    return [
        ({"prepared": "nowhere"}, "run the stage 'prepare' first", 2),
        ({"accelerator": "abacus"}, "'accelerator', 'devices' or 'precision'", 2),
        ({"autoencoder": {**settings, "precision": "half"}}, "'accelerator', 'devices' or 'precision'", 2),
        ({"sampling": {"own": 0}}, "gives no weight to any case", 2),
        ({"autoencoder": {**settings, "start_from": "none.pt"}}, "There is no file none.pt", 3),
        ({"autoencoder": {**settings, "batch": 0}}, "'autoencoder.batch'", 2),
        ({"network": {}}, "has no 'network.autoencoder.num_channels'", 2),
        (
            {"network": {"autoencoder": {"num_channels": [4, 8, 8], "spatial": 3}}},
            "'network.autoencoder' of the config",
            2,
        ),
    ]


def test_mistakes_of_users_are_one_sentence_and_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cases(tmp_path / "prepared")
    config = autoencoder_config(tmp_path)
    for change, sentence, code in mistakes(config):
        (tmp_path / "config.json").write_text(json.dumps(config | change))
        monkeypatch.setattr(sys, "argv", ["training", "autoencoder", "--config", str(tmp_path / "config.json")])
        assert main() == code, change
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and sentence in errors[0], (change, errors)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    write_cases(tmp_path / "prepared")
    config = autoencoder_config(tmp_path, steps=1)
    train_autoencoder(config)
    good = (Path(config["run"]) / "autoencoder.pt").read_bytes()
    config["autoencoder"] |= {"steps": 5, "lr": 1e30}
    with pytest.raises(SynthCTError, match="is no finite number"):
        train_autoencoder(config)
    assert (Path(config["run"]) / "autoencoder.pt").read_bytes() == good


def test_the_capped_term_trains_in_mixed_precision_too(tmp_path: Path) -> None:
    write_cases(tmp_path / "prepared")
    config = autoencoder_config(tmp_path, precision="bf16-mixed", adversarial_from=0)
    train_autoencoder(config)
    state = load_checkpoint(Path(config["run"]) / "autoencoder.pt")
    assert state is not None and state["step"] == 2
    assert all(value.isfinite().all() for value in state["model"].values())


def test_two_processes_end_with_the_weights_of_one_that_takes_two_passes(tmp_path: Path) -> None:
    write_cases(tmp_path / "prepared")
    common = {"steps": 2, "adversarial_cap": None, "adversarial_trains_encoder": False}  # frozen from step 1 on
    one = autoencoder_config(tmp_path, accumulate=2, **common) | {"run": str(tmp_path / "one")}
    train_autoencoder(one)
    two = autoencoder_config(tmp_path, **common) | {"run": str(tmp_path / "two"), "devices": 2}
    (tmp_path / "two.json").write_text(json.dumps(two))
    command = [sys.executable, "-m", "training", "autoencoder", "--config", str(tmp_path / "two.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    ends = [load_checkpoint(tmp_path / name / "autoencoder.pt") for name in ("one", "two")]
    assert ends[0] is not None and ends[1] is not None
    for part in ("model", "critic"):
        assert all(torch.allclose(a, ends[1][part][key], atol=1e-5) for key, a in ends[0][part].items()), part
    starts = json.loads((tmp_path / "two" / "stages" / "autoencoder.json").read_text())
    assert len(starts) == 1  # one of the two writes
