"""A gradient that is no number under a loss that is one: seen in the same step, before anything is saved."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

from SynthCTLib.errors import SynthCTError
from Testing.training.small_images import autoencoder_config
from Testing.training.small_runs import small_config, write_latents
from training.adversary import Adversary
from training.denoiser import DenoiserStage, train_diffusion
from training.settings import read_settings


def broken(value: torch.Tensor) -> torch.Tensor:
    """The same value with a gradient of NaN, as a root at 0 has it."""
    return value + (value * 0).sqrt()


def test_the_checkpoint_stays_as_it_was_when_a_gradient_of_the_denoiser_is_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(tmp_path)
    write_latents(config)
    config["diffusion"] |= {"steps": 1, "save_seconds": 0}
    train_diffusion(config)
    path = Path(config["run"]) / "diffusion.pt"
    good = path.read_bytes()
    original = DenoiserStage._loss
    monkeypatch.setattr(DenoiserStage, "_loss", lambda *a: broken(original(*a)))
    config["diffusion"] |= {"steps": 2}
    with pytest.raises(SynthCTError, match=r"In step 2 .* gradient_norm is no finite number"):
        train_diffusion(config)
    assert path.read_bytes() == good


@pytest.mark.parametrize("clip", [1.0, None])
def test_a_broken_gradient_of_the_discriminator_is_logged_clipped_or_not(tmp_path: Path, clip: float | None) -> None:
    settings = read_settings(autoencoder_config(tmp_path, critic_clip=clip), "autoencoder")
    adversary = Adversary(settings, Fabric(accelerator="cpu"))
    pairs = [(torch.rand(1, 1, 16, 16, 16), torch.rand(1, 1, 16, 16, 16))]
    assert math.isfinite(adversary.learn(pairs, 1e-4)["critic_gradient_norm"])
    original = adversary.least_squares.forward

    def least_squares(*args: Any, **kwargs: Any) -> torch.Tensor:
        return broken(torch.as_tensor(original(*args, **kwargs)))

    adversary.least_squares.forward = least_squares  # type: ignore[method-assign]
    logged = adversary.learn(pairs, 1e-4)
    assert math.isfinite(logged["critic"]) and not math.isfinite(logged["critic_gradient_norm"])
