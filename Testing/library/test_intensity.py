"""Unit range to Hounsfield units."""

from __future__ import annotations

import numpy as np
import pytest

from SynthCTLib.errors import ModelError
from SynthCTLib.intensity import unit_to_hu

CARD = {"hu": [-1000, 1000], "background": -1000}


def test_the_unit_range_maps_linearly_and_is_clipped_and_rounded() -> None:
    unit = np.array([-0.3, 0.0, 0.5, 0.5204, 1.0, 1.7], np.float32).reshape(1, 6, 1)
    hu = unit_to_hu(unit, CARD, np.ones((1, 6, 1), np.uint8))
    assert hu.dtype == np.int16
    assert hu.ravel().tolist() == [-1000, -1000, 0, 41, 1000, 1000]


def test_outside_of_the_body_it_is_background() -> None:
    unit, mask = np.ones((2, 3, 4), np.float32), np.zeros((2, 3, 4), np.uint8)
    mask[1, 2, 3] = 200
    hu = unit_to_hu(unit, {"hu": [-1000, 1500], "background": -1024}, mask)
    assert hu[1, 2, 3] == 1500
    assert (hu == -1024).sum() == 23


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_numbers_are_a_fault_of_the_model(value: float) -> None:
    unit = np.zeros((2, 2, 2), np.float32)
    unit[1, 1, 1] = value
    with pytest.raises(ModelError, match="not numbers"):
        unit_to_hu(unit, CARD, np.ones((2, 2, 2), np.uint8))
