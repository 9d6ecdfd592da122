"""What the networks are told: mask channels, the mask without tumors, spacing, class and region."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from SynthCTLib.conditioning import encode_mask, mask_channel_count, without_tumors
from SynthCTLib.conditions import build_conditions
from SynthCTLib.errors import InputError
from SynthCTLib.regions import Region

RFLOW = {"spacing_factor": 100, "class_label": 1, "body_region": False, "guidance_class_label": 0}
DDPM = {"spacing_factor": 100, "class_label": None, "body_region": True, "region_factor": 100}
REPLACEMENTS = {"26": 1, "24": 4, "27": 62, "116": 14, "117": 5}


def test_labels_become_eight_bits_with_the_least_significant_first() -> None:
    labels = torch.tensor([0, 1, 6, 200], dtype=torch.uint8).reshape(1, 4, 1, 1)
    channels = encode_mask(labels)
    assert channels.shape == (1, 8, 4, 1, 1)
    assert channels.dtype == torch.float32
    bits = channels[0, :, :, 0, 0].T.tolist()
    assert bits[0] == [0] * 8
    assert bits[1] == [1, 0, 0, 0, 0, 0, 0, 0]
    assert bits[2] == [0, 1, 1, 0, 0, 0, 0, 0]
    assert bits[3] == [0, 0, 0, 1, 0, 0, 1, 1]


def test_the_hu_prior_is_a_ninth_channel_and_unknown_ids_count_as_air() -> None:
    labels = torch.tensor([0, 1, 33], dtype=torch.uint8).reshape(1, 3, 1, 1)
    prior = {"1": 60.0, "33": 250.0}
    channels = encode_mask(labels, prior)
    assert channels.shape[1] == mask_channel_count(prior) == 9
    assert mask_channel_count(None) == mask_channel_count({}) == 8
    assert channels[0, 8, :, 0, 0].tolist() == pytest.approx([-1.0, 0.06, 0.25])


def test_tumors_become_the_organ_around_them_and_nothing_else_changes() -> None:
    labels = np.array([26, 24, 27, 116, 117, 1, 0, 200, 128]).reshape(9, 1, 1)
    before = labels.copy()
    assert without_tumors(labels, REPLACEMENTS).ravel().tolist() == [1, 4, 62, 14, 5, 1, 0, 200, 128]
    assert (labels == before).all()


def test_a_lung_tumor_becomes_the_largest_lobe_and_body_without_lobes() -> None:
    labels = np.array([23, 28, 30, 30, 31]).reshape(5, 1, 1)
    assert without_tumors(labels, REPLACEMENTS).ravel().tolist() == [30, 28, 30, 30, 31]
    assert without_tumors(np.array([[[23, 1]]]), REPLACEMENTS).ravel().tolist() == [200, 1]


def test_rflow_models_are_told_spacing_and_class() -> None:
    conditions = build_conditions(RFLOW, (0.8, 0.75, 2.5))
    assert conditions.spacing is not None
    assert conditions.spacing.tolist() == [pytest.approx([80.0, 75.0, 250.0])]
    assert conditions.class_label == torch.tensor([1])
    assert conditions.top_region is None
    assert conditions.bottom_region is None
    assert conditions.unconditional().class_label == torch.tensor([0])
    assert torch.equal(conditions.unconditional().spacing, conditions.spacing)


def test_ddpm_models_are_told_the_regions_one_hot() -> None:
    conditions = build_conditions(DDPM, (1, 1, 1), Region(1, 3))
    assert conditions.top_region is not None
    assert conditions.bottom_region is not None
    assert conditions.top_region.tolist() == [[0, 100, 0, 0]]
    assert conditions.bottom_region.tolist() == [[0, 0, 0, 100]]
    assert conditions.class_label is None
    assert conditions.unconditional().class_label is None


def test_a_model_that_needs_a_region_says_so() -> None:
    with pytest.raises(InputError, match="--region"):
        build_conditions(DDPM, (1, 1, 1))


@pytest.mark.parametrize("spacing", [(1, 1), (0, 1, 1), (1, -1, 1), (1, 1, float("nan")), (1, 1, float("inf"))])
def test_an_impossible_spacing_is_refused(spacing: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="three positive numbers"):
        build_conditions(RFLOW, spacing)
