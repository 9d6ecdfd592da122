"""Pictures in the documents: what they are is written in them, and the labels lie over the left half."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from docs.pictures.slices import Result, slice_picture
from SynthCTLib.cards import load_card
from SynthCTLib.job import DEFAULT_MODEL
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.preview import PLANES, SOFT_TISSUE
from Testing.packaging.cmake_lists import ROOT


def test_the_picture_of_a_result_says_that_it_is_synthetic_and_a_rendering() -> None:
    with Image.open(ROOT / "docs" / "images" / "result.png") as picture:
        text = picture.text["Description"]
    assert "not a patient, not for clinical use" in text and "not a screenshot" in text


@pytest.mark.parametrize("name", ["demo.png", "images/result.png"])
def test_pictures_of_results_were_made_with_the_default_model(name: str) -> None:
    with Image.open(ROOT / "docs" / name) as picture:
        assert load_card(DEFAULT_MODEL).title in picture.text["Description"]


def test_the_left_half_of_a_slice_has_the_colors_of_the_labels_and_the_right_half_is_gray() -> None:
    liver = load_vocabulary().find("liver")
    labels = np.full((16, 16, 16), liver.id, np.int16)
    result = Result(np.full(labels.shape, 40.0, np.float32), labels, (2.0, 2.0, 2.0))
    picture = np.asarray(slice_picture(result, PLANES[0], (8, 8, 8), SOFT_TISSUE, (100, 100)), int)
    colored, gray = picture[75, 25], picture[75, 75]
    assert abs(colored - np.array(liver.color)).sum() < abs(gray - np.array(liver.color)).sum()
    assert np.ptp(colored) > 30 and np.ptp(gray) == 0
    assert abs(gray[0] - 127) <= 1  # the middle of the window
