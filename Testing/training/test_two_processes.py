"""Two processes on one machine train one model (gloo)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from training.config import load_config
from training.files import load_checkpoint

ROOT = Path(__file__).parents[2]


def test_two_processes_train_the_same_weights_and_only_one_writes(tmp_path: Path) -> None:
    latents = tmp_path / "run" / "latents"
    latents.mkdir(parents=True)
    config = load_config(ROOT / "training" / "configs" / "embedded.json", [])
    channels = config["network"]["unet"]["in_channels"]
    entries = []
    for split in ("train", "val"):
        latent = np.random.default_rng(0).normal(size=(channels, 8, 8, 8)).astype(np.float16)
        mask = np.full((32, 32, 32), 200, np.uint8)
        np.savez(latents / f"{split}.npz", latent=latent, mask=mask, spacing=np.array([3, 3, 4], np.float32))
        entries.append({"file": f"{split}.npz", "split": split, "kind": "other"})
    (latents / "index.json").write_text(json.dumps({"scale_factor": 1.0, "latents": entries}))
    small = {"steps": 2, "draws": 1, "crops": [[8, 8, 8]], "weights": {"other": 1}, "val_every": 2, "val_crops": 1}
    config |= {"run": str(tmp_path / "run"), "accelerator": "cpu", "devices": 2, "precision": "32-true"}
    config["diffusion"] |= small
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    done = subprocess.run(
        [sys.executable, "-m", "training", "diffusion", "--config", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "world_size" in done.stderr.lower() or "2 processes" in done.stderr.lower(), done.stderr
    assert done.stdout.count("val_loss=") == 1
    state = load_checkpoint(tmp_path / "run" / "diffusion.pt")
    assert state is not None and state["step"] == 2
