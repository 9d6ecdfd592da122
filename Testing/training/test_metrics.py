"""The yardsticks themselves: they must grow when images get worse, and agree with their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg, ndimage

from SynthCTLib.labels import load_vocabulary
from training.metrics.following import dice, following, threshold_dice
from training.metrics.frechet import frechet_distance, kernel_distance
from training.metrics.halves import distance_of_halves, split_in_halves
from training.metrics.organ_hu import median_by_label
from training.painter import paint


@pytest.fixture(scope="module")
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_frechet_distance_agrees_with_the_matrix_root_formula(rng: np.random.Generator) -> None:
    a, b = rng.normal(0, 1, (400, 6)), rng.normal(0.3, 1.4, (500, 6))
    sa, sb = np.cov(a.T), np.cov(b.T)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(sa + sb - 2 * linalg.sqrtm(sa @ sb).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_of_a_set_with_itself_is_zero_also_with_few_samples(rng: np.random.Generator) -> None:
    a = rng.normal(size=(20, 100))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_distances_grow_with_a_shift(distance, rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(200, 8)), rng.normal(size=(200, 8))
    values = [distance(a, b + shift) for shift in (0, 0.5, 1.0, 2.0)]
    assert values == sorted(values) and values[3] > values[0] + 0.1


def test_halves_have_the_same_parts_of_the_body_and_no_case_in_common(rng: np.random.Generator) -> None:
    groups = ["head"] * 8 + ["thigh"] * 4
    a, b = split_in_halves(groups, rng)
    assert sorted([*a, *b]) == list(range(12))
    assert sorted(groups[i] for i in a) == sorted(groups[i] for i in b)


def test_copies_of_the_real_volumes_are_as_far_away_as_real_ones_and_shifted_ones_farther(
    rng: np.random.Generator,
) -> None:
    real = [rng.normal(rng.normal(size=4), 1, (6, 4)) for _ in range(12)]
    same = distance_of_halves(frechet_distance, real, real, ["x"] * 12, True, 10, 0)
    assert same["value"] == pytest.approx(same["floor"]) and same["floor"] > 0
    moved = distance_of_halves(frechet_distance, real, [v + 3 for v in real], ["x"] * 12, True, 10, 0)
    low, high = moved["value_90_percent"]
    assert low < moved["value"] < high
    assert low > moved["floor_90_percent"][1]


def test_volumes_without_masks_are_compared_as_well(rng: np.random.Generator) -> None:
    real, made = ([rng.normal(m, 1, (6, 4)) for _ in range(n)] for m, n in ((0, 8), (5, 5)))
    found = distance_of_halves(frechet_distance, real, made, ["x"] * 8, False, 5, 0)
    assert found["value"] > 50 > found["floor"]


def phantom() -> tuple[np.ndarray, np.ndarray]:
    """A body with a lung, a vertebra and a liver: (HU, mask)."""
    mask = np.zeros((40, 40, 20), np.uint8)
    x, y = np.mgrid[:40, :40]
    mask[(x - 20) ** 2 + (y - 20) ** 2 < 17**2] = 200
    mask[8:16, 14:28, :] = 28
    mask[18:23, 6:11, :] = 40
    mask[24:34, 14:28, :] = 1
    hu = np.full(mask.shape, -1000, np.int16)
    for label, value in ((200, -50), (28, -850), (40, 300), (1, 100)):
        hu[mask == label] = value
    return hu, mask


def test_a_ct_that_follows_its_mask_has_a_dice_of_one_and_a_blurred_one_has_less() -> None:
    hu, mask = phantom()
    sharp = threshold_dice(hu, mask, least=10)
    assert all(value > 0.97 for value in sharp.values()) and set(sharp) == {"lung", "bone", "body"}
    blurred = threshold_dice(ndimage.gaussian_filter(hu.astype(np.float32), 3), mask, least=10)
    assert blurred["bone"] < sharp["bone"] - 0.2 and blurred["lung"] < sharp["lung"]


def test_dice_of_two_empty_masks_is_not_a_number() -> None:
    assert np.isnan(dice(np.zeros(3, bool), np.zeros(3, bool)))


def test_medians_are_given_per_label_without_air_and_body() -> None:
    hu, mask = phantom()
    assert median_by_label(hu, mask) == {28: -850.0, 40: 300.0, 1: 100.0}


def test_the_painter_fills_labels_with_their_statistics_and_keeps_air() -> None:
    _, mask = phantom()
    painted = paint(mask, {200: (-40.0, 30.0), 1: (100.0, 10.0)}, seed=1)
    assert (painted[mask == 0] == -1000).all()
    assert abs(painted[mask == 1].mean() - 100) < 2 and abs(painted[mask == 1].std() - 10) < 1
    assert abs(painted[mask == 28].mean() + 40) < 5  # an id without statistics looks like the body


def test_a_structure_that_even_the_real_ct_does_not_show_has_no_share() -> None:
    mask = np.full((12, 12, 12), 200, np.uint8)
    mask[2:10, 2:10, 2:10] = load_vocabulary().group_ids("lung")[0]
    soft = np.full(mask.shape, 40, np.int16)
    found = following([soft], [soft], [mask])
    assert found["lung"]["value"] == found["lung"]["real"] == 0 and np.isnan(found["lung"]["share"])
