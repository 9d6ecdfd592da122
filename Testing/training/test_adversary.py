"""The adversarial part: what opens when, and that neither network takes over when it does."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from Testing.training.small_images import autoencoder_config, write_cases
from training.adversary import Adversary
from training.autoencoder import AutoencoderStage
from training.loop import start_fabric
from training.settings import read_settings

pytestmark = pytest.mark.usefixtures("one_thread")

OPEN, STEPS, LAST = 40, 80, 20


def adversary(tmp_path: Path, **settings: Any) -> Adversary:
    torch.manual_seed(0)
    return Adversary(read_settings(autoencoder_config(tmp_path, **settings), "autoencoder"), Fabric(accelerator="cpu"))


@torch.no_grad()
def held_out_error(stage: AutoencoderStage) -> float:
    """L1 of the averaged weights on the fixed held-out patches."""
    with stage.ema.applied_to(stage.model):
        mu, _ = stage.model.encode(stage.held_out)
        return (stage.model.decode(mu) - stage.held_out).abs().mean().item()


def run_on(stage: AutoencoderStage) -> tuple[float, dict[str, float]]:
    """The error at the end, and means of what was logged over the last steps."""
    logged = [stage.step(step) for step in range(OPEN, STEPS)][-LAST:]
    return held_out_error(stage), {key: float(np.mean([one[key] for one in logged])) for key in logged[0]}


def test_after_the_discriminator_opens_neither_network_collapses(tmp_path: Path) -> None:
    write_cases(tmp_path / "prepared")
    config = autoencoder_config(
        tmp_path,
        **{"start": "linear", "steps": STEPS, "lr": 2e-4, "ema": 0.9, "val_patches": 4, "critic_channels": 8},
        **{"adversarial_from": OPEN, "critic_lead": 20, "adversarial_ramp": 20, "critic_rest": 0.1},
        adversarial_weight=1.0,  # ten times the paper's
    )
    config["network"]["autoencoder"]["num_channels"] = [8, 16, 16]
    settings = read_settings(config, "autoencoder")
    stage = AutoencoderStage(config, settings, start_fabric(config))
    for step in range(OPEN):
        stage.step(step)
    at_opening, opened = held_out_error(stage), copy.deepcopy(stage.state_dict())
    kept, means = run_on(stage)
    assert kept < 0.8 * at_opening  # the autoencoder goes on learning
    assert 0.1 < means["critic"] < 0.35  # 0.25 is a discriminator that only guesses, 0 one that always knows
    assert 0.1 < means["adversarial"] < 0.6
    stage.load_state_dict(opened)
    settings |= {"adversarial_cap": None, "adversarial_ramp": 0, "critic_rest": 0.0}
    lost, _ = run_on(stage)
    assert lost > 1.5 * kept  # the same weight without the balance drowns L1


def test_the_cap_turns_a_strong_gradient_down_and_leaves_a_weak_one_alone(tmp_path: Path) -> None:
    image = torch.rand(1, 1, 16, 16, 16)
    for strength, capped in ((1e-6, True), (1e6, False)):
        output = (image + 0).requires_grad_()
        made = output * 1.0
        reconstruction = strength * made.abs().mean()
        judge = adversary(tmp_path, adversarial_from=0, adversarial_weight=0.1, adversarial_cap=0.5)
        term, scalars = judge.term(made, reconstruction, step=0)
        term_gradient, rest = (
            torch.autograd.grad(t, made, retain_graph=True)[0].norm() for t in (term, reconstruction)
        )
        if capped:
            assert (term_gradient / rest).item() == pytest.approx(0.5, rel=1e-3)
            assert scalars["adversarial_weight"] < 0.1
        else:
            assert scalars["adversarial_weight"] == pytest.approx(0.1)
        assert all(p.requires_grad and p.grad is None for p in judge.critic.parameters())


def test_the_discriminator_leads_the_weight_grows_and_one_that_wins_rests(tmp_path: Path) -> None:
    judge = adversary(tmp_path, adversarial_from=10, critic_lead=4, adversarial_ramp=5, adversarial_weight=0.1)
    assert [judge.is_learning(step) for step in (5, 6)] == [False, True]
    assert [judge.is_open(step) for step in (9, 10)] == [False, True]
    assert [round(judge.weight(step), 3) for step in (10, 12, 14, 99)] == [0.02, 0.06, 0.1, 0.1]
    real, made = torch.rand(1, 1, 16, 16, 16), torch.zeros(1, 1, 16, 16, 16)
    for rest, moves in ((0.0, True), (10.0, False)):
        judge = adversary(tmp_path, critic_rest=rest)
        before = [p.detach().clone() for p in judge.critic.parameters()]
        judge.learn([(real, made)], lr=1e-3)
        changed = any(not torch.equal(a, b) for a, b in zip(before, judge.critic.parameters(), strict=True))
        assert changed == moves
