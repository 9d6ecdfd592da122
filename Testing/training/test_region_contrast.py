"""MAISI-v2's region-contrastive loss against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from SynthCTLib.errors import InputError
from training.region_contrast import ContrastSettings, region_contrast
from training.region_removal import remove_regions

PAPER = ContrastSettings()
RELEASED = ContrastSettings(variant="released")


def small_case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Four latent voxels along x; the region is the first one (voxels 0-3 of 16 of the mask).

    By hand: |with − without| is 0.5, 3, 0.2, 0.4; |without − target| is 1.5, 1, 0.8, 0.6. One voxel of dilation reaches
    voxel 4 of the mask, the one that the second latent voxel is compared at, so that m⁻ is the last two.
    """
    output = torch.tensor([1.0, 1.0, 1.0, 1.0]).view(1, 1, 4, 1, 1)
    without = torch.tensor([1.5, 4.0, 0.8, 0.6]).view(1, 1, 4, 1, 1)
    target = torch.tensor([0.0, 3.0, 0.0, 0.0]).view(1, 1, 4, 1, 1)
    region = torch.zeros(1, 16, 4, 4, dtype=torch.bool)
    region[:, :4] = True
    return output, without, target, region


def test_the_papers_loss_has_the_values_worked_out_by_hand() -> None:
    inside, outside = region_contrast(*small_case(), PAPER)
    assert inside.item() == pytest.approx(-0.5)
    assert outside.item() == pytest.approx((0.2 + 0.4) / 2)


def test_the_released_variant_compares_the_background_with_the_target() -> None:
    inside, outside = region_contrast(*small_case(), RELEASED)
    assert inside.item() == pytest.approx(-0.5)
    assert outside.item() == pytest.approx((0.8 + 0.6) / 2)


def test_the_difference_inside_is_bounded_and_then_has_no_gradient() -> None:
    output, without, target, region = small_case()
    for shift, expected, moves in ((0.0, -0.5, True), (7.0, -2.0, False)):
        far = (without + shift).requires_grad_()
        inside, _ = region_contrast(output, far, target, region, PAPER)
        inside.backward()
        assert inside.item() == pytest.approx(expected)
        assert bool(far.grad[0, 0, 0].any()) == moves


def test_the_gradient_drives_both_predictions_apart_inside_and_together_outside() -> None:
    output, without, target, region = small_case()
    output.requires_grad_()
    without.requires_grad_()
    sum(region_contrast(output, without, target, region, PAPER)).backward()
    toward = -(output.grad * (without - output).sign())[0, 0, :, 0, 0]  # positive: a step closes the gap
    assert toward[0] < 0 and toward[1] == 0 and (toward[2:] > 0).all()
    assert torch.allclose(output.grad, -without.grad)


@pytest.mark.parametrize("settings", [PAPER, RELEASED])
def test_without_a_region_nothing_is_lost_and_a_step_can_still_be_taken(settings: ContrastSettings) -> None:
    output, without, target, region = small_case()
    output.requires_grad_()
    losses = region_contrast(output, without, target, torch.zeros_like(region), settings)
    assert [loss.item() for loss in losses] == [0, 0]
    sum(losses).backward()
    assert not output.grad.any()


def test_the_weight_falls_as_the_paper_has_it() -> None:
    settings = ContrastSettings(weights=((100, 0.01), (200, 0.001)), labels=("hepatic tumor",))
    assert [settings.weight_at(step) for step in (0, 99, 100, 199, 200, 900)] == [0, 0, 0.01, 0.01, 0.001, 0.001]
    assert ContrastSettings().weight_at(5) == 0
    with pytest.raises(InputError, match=r"contrast\.labels"):
        ContrastSettings(weights=((0, 0.01),))
    with pytest.raises(InputError, match="odd number"):
        ContrastSettings(dilation=2)


def test_a_tumor_is_replaced_by_its_organ_and_one_without_a_fixed_organ_by_what_is_nearest() -> None:
    mask = np.full((12, 6, 6), 28, np.uint8)
    mask[6:] = 30
    mask[3:5, 2:4, 2:4] = 23  # a lung tumor in the left lobe
    mask[10:, :, :] = 1
    mask[11, 2:4, 2:4] = 26
    removed = remove_regions(mask, [23, 26])
    assert (removed[:6] == 28).all() and (removed[6:10] == 30).all() and (removed[10:] == 1).all()
    assert mask[3, 2, 2] == 23  # the mask itself stays
    assert remove_regions(removed, [23, 26]) is removed
    assert (remove_regions(np.full((2, 2, 2), 128, np.uint8), [128]) == 200).all()
