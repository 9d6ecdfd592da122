"""Two processes on one machine (gloo) train as one process does that takes two micro-batches per step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from Testing.training.small_runs import small_config, write_latents
from training.denoiser import train_controlnet, train_diffusion
from training.files import load_checkpoint

ROOT = Path(__file__).parents[2]
SHAPES = {"train_a": (8, 8, 8), "train_b": (8, 8, 8), "train_c": (8, 8, 12), "val_a": (8, 8, 8)}
TWO_SIZES = {"steps": 3, "crops": "whole", "val_every": 1, "ema": 0.5}


def val_losses(config: dict[str, Any], stage: str) -> list[float]:
    events = EventAccumulator(str(Path(config["run"]) / "tensorboard" / stage))
    events.Reload()
    return [event.value for event in events.Scalars("val_loss")]


def train_apart(config: dict[str, Any], stage: str, file: Path) -> str:
    """Run a stage by its command; returns what it printed. Fabric starts the second process itself."""
    file.write_text(json.dumps(config))
    done = subprocess.run(
        [sys.executable, "-m", "training", stage, "--config", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "2 processes" in done.stderr.lower(), done.stderr
    return done.stdout


@pytest.mark.parametrize(("stage", "family"), [("diffusion", "rflow"), ("controlnet", "ddpm")])
def test_two_processes_have_the_losses_and_weights_of_one(tmp_path: Path, stage: str, family: str) -> None:
    one, two = (small_config(tmp_path / name, family) for name in ("one", "two"))
    for config in (one, two):
        write_latents(config, SHAPES)
        if stage == "controlnet":
            train_diffusion(config)
            contrast = {"weights": [[0, 0.01]], "labels": ["hepatic tumor"]}
            config[stage] |= {"train_unet": False, "contrast": contrast}
        config[stage] |= TWO_SIZES
    one[stage]["accumulate"] = 2
    (train_controlnet if stage == "controlnet" else train_diffusion)(one)
    printed = train_apart(two | {"devices": 2}, stage, tmp_path / "two.json")
    assert printed.count("val_loss=") == 3  # one of the two writes
    losses = val_losses(one, stage)
    assert len(losses) == 3 and len(set(losses)) == 3
    assert val_losses(two, stage) == pytest.approx(losses, rel=1e-4)
    states = [load_checkpoint(Path(config["run"]) / f"{stage}.pt") for config in (one, two)]
    weights, others = (torch.cat([value.flatten() for value in state["model"].values()]) for state in states if state)
    assert (weights - others).abs().mean() < 1e-3 * one[stage]["lr"]  # of what a weight moves in a step at most
