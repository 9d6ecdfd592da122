"""The autoencoder stage as a process: killed at once in the middle, it ends where an unbroken run ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from SynthCTLib.errors import ModelError
from Testing.training.killed_stage import run_until_killed
from Testing.training.small_images import autoencoder_config, write_cases
from training.__main__ import main
from training.autoencoder import train_autoencoder
from training.files import load_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = 20


def command(config: dict[str, Any]) -> list[str]:
    file = Path(config["run"]).with_suffix(".json")
    file.write_text(json.dumps(config))
    return ["training", "autoencoder", "--config", str(file)]


def difference(a: Any, b: Any) -> list[str]:
    """Where two checkpoints differ, bit by bit."""
    if isinstance(a, dict):
        return [f"{key}/{where}" for key in a.keys() | b.keys() for where in difference(a.get(key), b.get(key))]
    same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    return [] if same else ["here"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_run_goes_on_to_the_weights_of_an_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cases(tmp_path / "prepared")
    broken = autoencoder_config(tmp_path, steps=STEPS, save_every=0, adversarial_from=10, critic_lead=5)
    broken |= {"run": str(tmp_path / "broken")}
    run_until_killed(broken, "autoencoder", saves=12)
    left = load_checkpoint(tmp_path / "broken" / "autoencoder.pt")
    assert left is not None and left["step"] == 12
    for config in (broken, broken | {"run": str(tmp_path / "whole")}):
        monkeypatch.setattr(sys, "argv", command(config))
        assert main() == 0
    ends = [load_checkpoint(tmp_path / name / "autoencoder.pt") for name in ("whole", "broken")]
    assert ends[0] is not None and ends[1] is not None and ends[0]["step"] == ends[1]["step"] == STEPS
    assert difference(*ends) == []
    starts = json.loads((tmp_path / "broken" / "stages" / "autoencoder.json").read_text())
    assert len(starts) == 2 and starts[1]["config"]["seed"] == 1 and len(starts[1]["data"]) == 64
    assert starts[1]["environment"]["packages"]["torch"] and starts[1]["commit"]


def test_accumulated_passes_and_patch_stages_also_go_on_exactly(tmp_path: Path) -> None:
    write_cases(tmp_path / "prepared")
    settings = {"accumulate": 2, "patch": [[0, 16], [3, 24]], "adversarial_from": 2, "ema": 0.5, "save_every": 0}
    ends = []
    for name, stops in (("whole", (5,)), ("parts", (1, 3, 5))):
        for steps in stops:
            config = autoencoder_config(tmp_path, steps=steps, **settings) | {"run": str(tmp_path / name)}
            train_autoencoder(config)
        ends.append(load_checkpoint(tmp_path / name / "autoencoder.pt"))
    assert difference(*ends) == []


def test_a_checkpoint_of_other_networks_is_refused_with_a_sentence(tmp_path: Path) -> None:
    write_cases(tmp_path / "prepared")
    config = autoencoder_config(tmp_path, steps=1)
    train_autoencoder(config)
    config["network"]["autoencoder"]["num_channels"] = [4, 4, 8]
    with pytest.raises(ModelError, match="is of other networks than the config describes"):
        train_autoencoder(config)
