"""The self-supervised Swin UNETR: what it learns from, what it takes over, and the experiment as one command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from SynthCTLib.errors import InputError
from Testing.training.downstream_cases import small_config, write_patients
from training.downstream import swin_unetr
from training.downstream.inpainting import hide_blocks, inpainting_loss
from training.downstream.swin_unetr import swin_unetr_ssl

BLOCKS = {"blocks": [2, 4], "side": [0.1, 0.25]}


@pytest.fixture
def config(tmp_path: Path, tiny_model: Path) -> dict:
    write_patients(tmp_path / "prepared", 4)
    config = small_config("swin-unetr-ssl", tmp_path, tiny_model)
    config["shares"], config["test_folds"] = [1.0], [0]
    config["training"] |= {"patch": [64, 32, 32], "window": [64, 32, 32], "batch": 1}
    config["pretraining"] |= {"steps": 1, "patch": [64, 32, 32], "batch": 1}
    return config


def test_hidden_blocks_are_boxes_of_zero_of_the_wanted_share_and_differ_between_seeds() -> None:
    image = torch.full((2, 1, 40, 40, 40), 0.5)
    hidden = hide_blocks(image, BLOCKS, seed=0)
    zero = hidden == 0
    assert torch.equal(hidden[~zero], image[~zero])
    for one in zero:
        assert 4**3 <= one.sum() <= 4 * 10**3
    assert not torch.equal(zero[0], zero[1])
    assert torch.equal(hide_blocks(image, BLOCKS, seed=0), hidden)
    assert not torch.equal(hide_blocks(image, BLOCKS, seed=1), hidden)
    assert (image == 0.5).all()


def test_the_loss_is_zero_for_the_image_itself_and_sees_what_was_hidden() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 1, 32, 32, 32)
    assert inpainting_loss(image, image).item() == pytest.approx(0, abs=1e-5)
    hidden = hide_blocks(image, BLOCKS, 0)
    assert inpainting_loss(hidden, image).item() > (hidden - image).abs().mean().item() + 0.005


def test_the_loss_leads_to_the_image_from_its_very_opposite() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 1, 32, 32, 32)
    guess = (1 - image).requires_grad_()
    optimizer = torch.optim.Adam([guess], 0.05)
    losses = []
    for _ in range(20):
        loss = inpainting_loss(guess, image)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0] and torch.isfinite(guess).all()


def test_the_loss_has_a_gradient_where_the_guess_is_below_zero_and_nothing_is_alike() -> None:
    image = torch.rand(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    guess = (-image).requires_grad_()
    loss = inpainting_loss(guess, image)
    loss.backward()
    assert guess.grad is not None and torch.isfinite(guess.grad).all() and torch.isfinite(loss)


def test_one_command_pretrains_on_synthetic_cts_of_training_patients_and_compares_both_arms(
    config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: dict[str, torch.Tensor] = {}
    original, first = swin_unetr.train_segmenter, "swinViT.patch_embed.proj.weight"

    def spy(network, *arguments):
        started[len(started)] = network.state_dict()[first].clone()
        return original(network, *arguments)

    monkeypatch.setattr(swin_unetr, "train_segmenter", spy)
    swin_unetr_ssl(config)
    card = json.loads(Path(config["out"]).read_text())
    assert [(row["seed"], row["share"], row["arm"]) for row in card["by_seed"]] == [
        (0, 1.0, "from scratch"),
        (0, 1.0, "pre-trained on synthetic"),
    ]
    assert card["n"] == 2 and set(card["folds"].values()) == {0} and card["pretraining"]["steps"] == 1
    (path,) = Path(config["run"]).glob("inpainting-0-*.pt")
    checkpoint = torch.load(path, weights_only=True)
    learned = {key.split("module.")[-1]: value for key, value in checkpoint["model"].items()}[first]
    assert not torch.equal(started[0], learned) and torch.equal(started[1], learned)


def test_pretraining_uses_no_synthetic_ct_of_a_patient_who_is_tested(
    config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    class Stop(Exception):
        pass

    def spy(_config, _name, volumes, _fabric):
        seen.extend(volume.patient for volume in volumes)
        raise Stop

    monkeypatch.setattr(swin_unetr, "pretrain", spy)
    with pytest.raises(Stop):
        swin_unetr_ssl(config)
    material = swin_unetr.gather(config)
    assert sorted(seen) == sorted(patient for patient, fold in material.folds.items() if fold != 0)


def test_weights_of_a_network_without_a_last_layer_of_that_name_are_refused() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2))
    with pytest.raises(InputError, match="all layers but a last one called 'out'"):
        swin_unetr._take_over(network, network.state_dict())


def test_other_arms_are_refused(config: dict) -> None:
    with pytest.raises(InputError, match="arms must be 'from scratch' and 'pre-trained on synthetic'"):
        swin_unetr_ssl(config | {"arms": ["from scratch"], "compare": []})
