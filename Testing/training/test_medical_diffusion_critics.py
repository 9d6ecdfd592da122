"""The critics of the VQ-GAN: their losses, their weight, and what happens to the rest when they open."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from Testing.training.medical_diffusion_cases import tiny_config, write_prepared
from training.medical_diffusion.discriminators import (
    Discriminators,
    adaptive_weight,
    feature_matching,
    generator_loss,
    hinge_loss,
)
from training.medical_diffusion.stage import one_device
from training.medical_diffusion.volumes import VolumeSet
from training.medical_diffusion.vqgan_training import VqGanTraining
from training.medical_diffusion.white_dots import count_white_dots


def test_hinge_generator_and_feature_losses_of_known_verdicts() -> None:
    def verdict(value: float) -> list[torch.Tensor]:
        return [torch.full((1, 2), value), torch.tensor([value])]

    real, fake = (verdict(0.5), verdict(2.0)), (verdict(-0.5), verdict(0.0))
    assert hinge_loss(real, fake).item() == pytest.approx(0.5 * (0.5 + 0.5) + 0.5 * (0 + 1))
    assert generator_loss(fake).item() == pytest.approx(0.5)
    assert feature_matching(real, fake).item() == pytest.approx(1.0 + 2.0)


def test_the_adaptive_weight_is_the_ratio_of_the_gradients() -> None:
    last = torch.tensor([1.0, 1.0], requires_grad=True)
    weight = adaptive_weight((last * torch.tensor([3.0, 4.0])).sum(), last.sum() * 2, last, 1e4)
    assert weight.item() == pytest.approx(5 / (2 * 2**0.5), rel=1e-3)
    assert adaptive_weight(last.sum(), last.sum() * 1e-9, last, 10.0).item() == 10.0


def test_both_critics_give_the_features_of_every_layer() -> None:
    volume, flat = Discriminators(4, 2)(torch.rand(2, 1, 16, 16, 16), torch.rand(2, 1, 16, 16))[::-1]
    assert [f.dim() for f in volume] == [5] * 4 and [f.dim() for f in flat] == [4] * 4


def test_they_have_the_sizes_of_the_public_code() -> None:
    """64 channels and 3 layers: 2.8 and 11.1 million weights."""
    critics = Discriminators(64, 3)
    sizes = [sum(p.numel() for p in critic.parameters()) / 1e6 for critic in (critics.slice, critics.volume)]
    assert sizes == pytest.approx([2.76, 11.05], abs=0.01)


def opened(folder: Path, steepness: float) -> tuple[list[float], list[dict[str, float]], int]:
    """(errors at the start, before the critics open and at the end, logs, white dots of the last reconstructions)."""
    config = tiny_config(folder)
    write_prepared(config)
    settings = config["vqgan"] | {"steps": 40, "adversarial_from": 20, "adversarial_ramp": 5, "lr": 4e-3}
    images = torch.stack([VolumeSet(config, "train").tensor(n) for n in range(3)])
    torch.manual_seed(1)
    training = VqGanTraining(config["network"]["vqgan"], settings, 1, one_device(config, "32-true"))
    training.start_codebook(images)
    with torch.no_grad():
        for critic in (training.critics.slice, training.critics.volume):
            list(critic.parameters())[-2].mul_(steepness)  # weight of the verdict
    errors, logs = [], []
    for step in range(40):
        logs.append(training.step(images, step))
        if step in (0, 19, 39):
            errors.append((training.reconstruct(images)[0] - images).abs().mean().item())
    dots = sum(count_white_dots(1000 * volume.numpy()) for volume in training.reconstruct(images)[0][:, 0])
    return errors, logs, dots


@pytest.mark.parametrize("steepness", [1.0, 100.0])
def test_it_learns_and_does_not_collapse_when_the_critics_open(tmp_path: Path, steepness: float) -> None:
    errors, logs, dots = opened(tmp_path, steepness)
    assert errors[1] < 0.5 * errors[0]
    assert errors[2] < errors[1] and dots == 0
    assert "gan" not in logs[19] and logs[39]["adaptive_weight"] > 0
    assert logs[39]["perplexity"] > 2


def test_with_a_constant_weight_steep_critics_do_collapse_it_into_white_dots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.medical_diffusion.vqgan_training.adaptive_weight", lambda *_given: torch.tensor(1.0))
    errors, _, dots = opened(tmp_path, 100.0)
    assert errors[2] > 1.5 * errors[1] and dots > 10
