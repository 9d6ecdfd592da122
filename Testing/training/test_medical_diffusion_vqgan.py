"""Stage vqgan of the Medical Diffusion family, piece by piece, and faults of the public code that it must not have."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from SynthCTLib.errors import InputError
from SynthCTLib.medical_diffusion.codebook import Codebook
from SynthCTLib.volume import Volume
from Testing.training.medical_diffusion_cases import tiny_config, write_prepared
from training.files import load_checkpoint
from training.medical_diffusion.learned_codebook import (
    LearnedCodebook,
    commitment_loss,
    perplexity,
    straight_through,
)
from training.medical_diffusion.perceptual import PerceptualLoss
from training.medical_diffusion.stage import one_device
from training.medical_diffusion.volumes import VolumeSet, make_volume, normalize
from training.medical_diffusion.vqgan_stage import train_vqgan
from training.medical_diffusion.vqgan_training import VqGanTraining, pick


def learner(
    codes: int = 4, channels: int = 2, restart_every: int = 1000, restart_below: float = 1.0
) -> LearnedCodebook:
    return LearnedCodebook(Codebook(codes, channels), 0.99, 1e-7, restart_below, restart_every)


def as_latent(vectors: list[list[float]]) -> torch.Tensor:
    return torch.tensor(vectors).T.reshape(1, len(vectors[0]), len(vectors), 1, 1)


def test_codes_start_on_vectors_of_the_data() -> None:
    made = learner()
    latent = torch.randn(1, 2, 2, 3, 3)
    made.initialize(latent, torch.Generator().manual_seed(0))
    vectors = latent.movedim(1, -1).reshape(-1, 2)
    assert torch.cdist(made.codebook[0].codes, vectors).amin(1).max() < 1e-6
    assert len(made.codebook[0].codes.unique(dim=0)) == 4


def test_more_codes_than_vectors_still_start_apart() -> None:
    made = learner(codes=10)
    made.initialize(as_latent([[0.0, 1.0], [2.0, 3.0], [9.0, 4.0]]), torch.Generator().manual_seed(0))
    assert len(made.codebook[0].codes.unique(dim=0)) == 10


def test_a_codebook_is_initialized_once() -> None:
    made = learner()
    made.initialize(torch.randn(1, 2, 2, 2, 2), torch.Generator())
    again = learner()
    again.load_state_dict(made.state_dict())
    with pytest.raises(RuntimeError, match="before"):
        again.initialize(torch.randn(1, 2, 2, 2, 2), torch.Generator())


def test_the_moving_averages_are_those_of_the_vq_vae_paper() -> None:
    made = learner(codes=2)
    made.codebook[0].codes.copy_(torch.tensor([[0.0, 0.0], [4.0, 4.0]]))
    made.counts.copy_(torch.tensor([2.0, 3.0]))
    made.sums.copy_(torch.tensor([[0.0, 0.0], [12.0, 12.0]]))
    latent = as_latent([[1.0, 0.0], [3.0, 2.0], [5.0, 5.0]])
    made.update(latent, torch.tensor([0, 0, 1]), torch.Generator())
    n0, n1 = 0.99 * 2 + 0.01 * 2, 0.99 * 3 + 0.01 * 1
    assert made.counts.tolist() == pytest.approx([n0, n1])
    assert made.codebook[0].codes[0].tolist() == pytest.approx([0.04 / n0, 0.02 / n0], abs=1e-5)
    assert made.codebook[0].codes[1].tolist() == pytest.approx([(0.99 * 12 + 0.05) / n1] * 2, rel=1e-5)


def test_a_code_nobody_uses_is_put_on_a_vector_of_the_data_and_stays_there() -> None:
    made = learner(codes=2, restart_every=1)
    made.codebook[0].codes.copy_(torch.tensor([[0.0, 0.0], [90.0, 90.0]]))
    made.counts.copy_(torch.tensor([5.0, 0.5]))
    made.sums.copy_(torch.tensor([[0.0, 0.0], [45.0, 45.0]]))
    latent = as_latent([[1.0, 1.0], [1.0, 1.0]])
    made.update(latent, torch.tensor([0, 0]), torch.Generator())
    assert made.codebook[0].codes[1].tolist() == [1.0, 1.0]
    made.restart_every = 1000
    made.update(latent, torch.tensor([1, 1]), torch.Generator())  # its old average of 90 must not pull it back
    assert made.codebook[0].codes[1].tolist() == pytest.approx([1.0, 1.0], abs=1e-4)


def test_between_restarts_an_unused_code_has_time() -> None:
    made = learner(codes=2, restart_every=3)
    made.codebook[0].codes.copy_(torch.tensor([[0.0, 0.0], [9.0, 9.0]]))
    made.counts.copy_(torch.tensor([9.0, 0.1]))
    made.sums.copy_(torch.tensor([[0.0, 0.0], [0.9, 0.9]]))
    made.steps.zero_()
    places = []
    for _ in range(3):
        made.update(as_latent([[0.1, 0.1]]), torch.tensor([0]), torch.Generator())
        places.append(made.codebook[0].codes[1, 0].item())
    assert places == pytest.approx([9.0, 9.0, 0.1], rel=1e-4)


def test_the_gradient_goes_straight_through_the_quantizer() -> None:
    latent = torch.tensor([0.2, 0.7], requires_grad=True)
    result = straight_through(latent, torch.tensor([0.0, 1.0]))
    assert result.tolist() == pytest.approx([0.0, 1.0])
    (result * torch.tensor([2.0, -3.0])).sum().backward()
    assert latent.grad is not None and latent.grad.tolist() == [2.0, -3.0]


def test_commitment_moves_latents_and_not_codes() -> None:
    latent, code = torch.tensor([1.0, 3.0], requires_grad=True), torch.tensor([0.0, 0.0], requires_grad=True)
    loss = commitment_loss(latent, code)
    loss.backward()
    assert loss.item() == 5.0
    assert latent.grad is not None and latent.grad.tolist() == [1.0, 3.0] and code.grad is None


def test_perplexity_counts_the_codes_in_use() -> None:
    assert perplexity(torch.tensor([0, 1, 2, 3]), 16) == pytest.approx(4, rel=1e-4)
    assert perplexity(torch.tensor([5, 5, 5, 5]), 16) == pytest.approx(1, rel=1e-4)


def test_the_perceptual_loss_is_zero_for_the_same_slice_and_grows_with_blur() -> None:
    loss, slices = PerceptualLoss(), torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    blurred = F.avg_pool2d(slices, 5, 1, 2).requires_grad_()
    value = loss(blurred, slices)
    value.backward()
    assert loss(slices, slices).item() == 0
    assert value.item() > loss(0.5 * (slices + blurred.detach()), slices).item() > 0
    assert blurred.grad is not None and blurred.grad.abs().max() > 0


def test_each_volume_of_a_batch_has_its_own_slice() -> None:
    volumes = torch.arange(2 * 3 * 4).reshape(2, 1, 3, 2, 2)
    assert torch.equal(pick(volumes, torch.tensor([2, 0])), torch.stack([volumes[0, :, 2], volumes[1, :, 0]]))


def test_a_fixed_window_keeps_hounsfield_units_and_min_max_does_not() -> None:
    hu = np.array([-1000.0, 0.0, 500.0, 3000.0]).reshape(4, 1, 1)
    window = normalize(hu, {"window": [-1000, 1000]}).ravel()
    assert window.tolist() == [-1.0, 0.0, 0.5, 1.0]
    assert normalize(hu[:3], {"min_max": True}).ravel()[1] == pytest.approx(1 / 3)
    assert normalize(hu[:3] * 2, {"min_max": True}).ravel()[1] == pytest.approx(1 / 3)


@pytest.mark.parametrize("intensity", [{}, {"window": [5, 5]}, {"min_max": False}])
def test_an_intensity_that_cannot_be_used_is_refused(intensity: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        normalize(np.arange(8.0).reshape(2, 2, 2), intensity)


def test_around_an_image_of_another_modality_lies_its_own_background() -> None:
    image = Volume(np.full((4, 4, 4), 7.0, np.float32), np.eye(4))
    image.array[1] = 9.0
    made = make_volume(image, {"transform": {"crop": [6, 4, 4]}, "intensity": {"min_max": True}})
    assert made.array[0, 0, 0] == -1.0 and made.array.max() == 1.0


def test_the_axis_that_is_mirrored_and_the_one_across_slices_are_settings(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    write_prepared(config)
    volumes = VolumeSet(config, "train")
    assert volumes.tensor(0).shape == (1, 8, 16, 16)
    assert np.array_equal(volumes.array(0, flip=True), volumes.array(0)[::-1])
    config["volumes"] |= {"flip_axis": 2, "depth_axis": 0}
    turned = VolumeSet(config, "train")
    assert turned.tensor(0).shape == (1, 16, 16, 8)
    assert torch.equal(turned.tensor(0)[0], volumes.tensor(0)[0].permute(1, 2, 0))
    assert np.array_equal(turned.array(0, flip=True), turned.array(0)[..., ::-1])


def test_a_case_that_was_prepared_again_or_elsewhere_is_made_anew(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    write_prepared(config)
    first = VolumeSet(config, "train").array(0)
    case = tmp_path / "prepared" / "case0" / "ct.npy"
    date = case.stat().st_mtime_ns
    np.save(case, np.load(case)[::-1])
    os.utime(case, ns=(date, date + 10**9))
    second = VolumeSet(config, "train").array(0)
    assert not np.array_equal(first, second)
    shutil.copytree(tmp_path / "prepared", tmp_path / "elsewhere")
    np.save(tmp_path / "elsewhere" / "case0" / "ct.npy", np.load(tmp_path / "prepared" / "case1" / "ct.npy"))
    os.utime(tmp_path / "elsewhere" / "case0" / "ct.npy", ns=(date, date + 10**9))
    config["prepared"] = str(tmp_path / "elsewhere")
    assert not np.array_equal(VolumeSet(config, "train").array(0), second)


def test_validation_never_sees_a_training_volume(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    write_prepared(config)
    train, val = VolumeSet(config, "train"), VolumeSet(config, "val")
    assert not {case["patient"] for case in train.cases} & {case["patient"] for case in val.cases}
    config["prepared"] = str(tmp_path / "without")
    write_prepared(config, val=0)
    with pytest.raises(InputError, match="split 'val'"):
        VolumeSet(config, "val")


def test_half_precision_in_which_the_public_code_gets_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="16-mixed"):
        one_device(tiny_config(tmp_path), "16-mixed")


def weights(config: dict[str, Any]) -> dict[str, Any]:
    state = load_checkpoint(Path(config["run"]) / "vqgan.pt")
    assert state is not None
    return state


def test_a_run_that_was_killed_goes_on_to_the_very_same_weights_and_codes(tmp_path: Path) -> None:
    whole, cut = tiny_config(tmp_path / "whole"), tiny_config(tmp_path / "cut")
    for config in (whole, cut):
        write_prepared(config)
    train_vqgan(whole)

    def killed(self: VqGanTraining, images: torch.Tensor, step: int, own: Any = VqGanTraining.step) -> Any:
        if step == 1:
            raise KeyboardInterrupt
        return own(self, images, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VqGanTraining, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            train_vqgan(cut)
    assert weights(cut)["step"] == 1
    train_vqgan(cut)
    one, other = weights(whole), weights(cut)
    assert one["step"] == other["step"] == 4 and other["learner"]["steps"] == 4
    for part in ("model", "critics", "learner"):
        for key, value in one[part].items():
            assert torch.equal(value, other[part][key]), (part, key)
    for key, value in one["ema"]["shadow"].items():
        assert torch.equal(value, other["ema"]["shadow"][key])


def test_the_perceptual_term_is_one_of_the_reconstruction(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    write_prepared(config)
    images = VolumeSet(config, "train").tensor(0)[None]
    logs = []
    for weight in (0.0, 1.0):
        torch.manual_seed(1)
        settings = config["vqgan"] | {"perceptual": weight}
        training = VqGanTraining(config["network"]["vqgan"], settings, 1, one_device(config, "32-true"))
        training.start_codebook(images)
        log = training.step(images, 0)
        logs.append(log | {"weight": next(training.model.parameters()).sum().item()})
    assert "perceptual" not in logs[0] and logs[1]["perceptual"] > 0
    assert logs[0]["l1"] == logs[1]["l1"] and logs[0]["weight"] != logs[1]["weight"]
