"""Worse CTs must get worse scores: blur, noise, shuffled slices and shifted HU, each in three strengths."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from SynthCTLib.cases import list_cases
from SynthCTLib.reading import read_segmentation
from training.metrics.coherence import coherence
from training.metrics.coverage import coverage, precision, recall
from training.metrics.diversity import diversity_gap
from training.metrics.extractors import EfficientNetLite0, RandomConvolutions
from training.metrics.features3d import RandomConvolutions3d
from training.metrics.following import following
from training.metrics.frechet import frechet_distance, mean_frechet
from training.metrics.organ_hu import organ_hu_in_range, organ_median_error
from training.metrics.spectrum import spectrum_gap
from training.metrics.volumes import volume_distances
from training.model_conditions import hu_prior
from training.painter import paint

SPACING = (6.0, 6.0, 6.0)


def blur(hu: np.ndarray, strength: int) -> np.ndarray:
    return ndimage.gaussian_filter(hu.astype(np.float32), 0.7 * strength)


def noise(hu: np.ndarray, strength: int) -> np.ndarray:
    return hu + np.random.default_rng(0).normal(0, 60 * strength, hu.shape)


def shuffle(hu: np.ndarray, strength: int) -> np.ndarray:
    """The axial slices in another order, within 3, 10 or all neighbors."""
    place = np.arange(hu.shape[2])
    reach = (0, 3, 10, len(place))[strength]
    return hu[:, :, np.argsort(place + np.random.default_rng(0).uniform(0, reach, len(place)), kind="stable")]


def shift(hu: np.ndarray, strength: int) -> np.ndarray:
    return hu - 80 * strength


CORRUPTIONS = (blur, noise, shuffle, shift)


@pytest.fixture(scope="module")
def masks() -> list[np.ndarray]:
    """Bundled label maps of three real patients, at 6 mm."""
    found = []
    healthy = [case for case in list_cases() if case.pair is None or case.pair.healthy == case.id]
    for case in healthy[:3]:
        volume = read_segmentation(case.path).volume
        zoom = np.array(volume.spacing) / SPACING
        found.append(ndimage.zoom(volume.array.astype(np.uint8), zoom, order=0))
    return found


@pytest.fixture(scope="module")
def painted(masks: list[np.ndarray]) -> list[np.ndarray]:
    """CTs with a typical HU, texture and soft edges per label."""
    palette = {int(label): (hu, 20.0) for label, hu in hu_prior().items()} | {200: (-20.0, 40.0)}
    return [ndimage.gaussian_filter(paint(mask, palette, i), 0.5) for i, mask in enumerate(masks)]


@pytest.fixture(scope="module")
def patients(painted: list[np.ndarray]) -> list[np.ndarray]:
    """Twelve of different size: the three in four zooms."""
    return [ndimage.zoom(hu, zoom, order=1) for hu in painted for zoom in (0.7, 0.8, 0.9, 1.0)]


def worsened(volumes: list[np.ndarray], corruption: Callable[[np.ndarray, int], np.ndarray]) -> list[list[np.ndarray]]:
    """The volumes as they are and corrupted in three strengths."""
    worse = [[corruption(hu.astype(np.float32), strength) for hu in volumes] for strength in (1, 2, 3)]
    return [volumes, *([np.clip(np.rint(hu), -1000, 1000).astype(np.int16) for hu in hus] for hus in worse)]


def grows(values: list[float]) -> bool:
    """Each value is clearly larger than the one before."""
    return all(b > a + 1e-4 for a, b in itertools.pairwise(values))


@pytest.mark.parametrize("extractor", [EfficientNetLite0, RandomConvolutions])
def test_the_frechet_distance_grows_with_every_corruption(extractor, painted: list[np.ndarray]) -> None:
    embed = extractor(3)
    real = {plane: [features] for plane, features in embed(painted[0], SPACING).items()}
    for corruption in CORRUPTIONS:
        made = [embed(hus[0], SPACING) for hus in worsened(painted[:1], corruption)[1:]]
        values = [mean_frechet(real, {plane: [found] for plane, found in f.items()}) for f in made]
        assert grows([0.0, *values]), (corruption, values)


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_coherence_of_slices_gets_worse_with_every_corruption(corruption, painted: list[np.ndarray]) -> None:
    gaps = [
        np.mean([plane["gap"] for plane in coherence(made, painted).values()]) for made in worsened(painted, corruption)
    ]
    assert grows(gaps), gaps


@pytest.mark.parametrize(
    "corruption", [blur, noise, shuffle]
)  # the mean is no detail: shifted HU have the same spectrum
def test_the_spectrum_gets_worse_with_blur_noise_and_shuffled_slices(corruption, painted: list[np.ndarray]) -> None:
    real = [(hu, SPACING) for hu in painted]
    gaps = [spectrum_gap([(hu, SPACING) for hu in made], real)["gap"] for made in worsened(painted, corruption)]
    assert grows(gaps), gaps


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_organ_medians_get_worse_with_every_corruption(
    corruption, painted: list[np.ndarray], masks: list[np.ndarray]
) -> None:
    errors = [organ_median_error(made, painted, masks)["mean"] for made in worsened(painted, corruption)]
    assert grows(errors), errors


@pytest.mark.parametrize("corruption", [blur, shuffle, shift])
def test_fewer_organs_are_in_range_after_blur_shuffle_and_shift(
    corruption, painted: list[np.ndarray], masks: list[np.ndarray]
) -> None:
    shares = [organ_hu_in_range(made, painted, masks)["value"] for made in worsened(painted, corruption)]
    assert shares == sorted(shares, reverse=True) and shares[3] < shares[0]


@pytest.mark.parametrize(
    ("structure", "corruption"),
    [("bone", blur), ("bone", shuffle), ("bone", shift), ("body", blur), ("body", noise), ("body", shuffle),
     ("body", shift), ("lung", blur), ("lung", noise), ("lung", shuffle)],
)  # fmt: skip
def test_masks_are_followed_less_after_a_corruption(
    structure: str, corruption, painted: list[np.ndarray], masks: list[np.ndarray]
) -> None:
    lost = [1 - following(made, painted, masks)[structure]["share"] for made in worsened(painted, corruption)]
    assert grows(lost), lost


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_the_frechet_distance_of_whole_volumes_grows_with_every_corruption(
    corruption, painted: list[np.ndarray]
) -> None:
    embed = RandomConvolutions3d()
    real, *worse = (np.concatenate([embed(hu) for hu in hus]) for hus in worsened(painted, corruption))
    values = [frechet_distance(real, made) for made in worse]
    assert grows([0.0, *values]), values


@pytest.mark.parametrize(("structure", "corruption"), [("bone", blur), ("bone", noise), ("bone", shift),
     ("body", blur), ("body", shift), ("air in the body", blur), ("air in the body", shift)])  # fmt: skip
def test_sizes_get_worse_with_blur_noise_and_shift(structure: str, corruption, painted: list[np.ndarray]) -> None:
    real = [(hu, SPACING) for hu in painted]
    values = [
        volume_distances([(hu, SPACING) for hu in made], real, real)[structure]["value"]
        for made in worsened(painted, corruption)
    ]
    assert values[0] == 0 and grows(values), values


@pytest.mark.parametrize("score", [precision, recall, coverage])
@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_precision_recall_and_coverage_fall_with_every_corruption(
    score, corruption, patients: list[np.ndarray]
) -> None:
    embed = RandomConvolutions(2)

    def points(hus: list[np.ndarray]) -> np.ndarray:
        return np.stack([np.concatenate([f.mean(0) for f in embed(hu, SPACING).values()]) for hu in hus])

    real, *made = (points(hus) for hus in worsened(patients, corruption))
    values = [score(found, real) for found in (real, *made)]
    assert values[0] == 1 and values == sorted(values, reverse=True) and values[3] < 0.5, values


@pytest.mark.parametrize("score", [recall, coverage])
def test_recall_and_coverage_fall_when_few_are_repeated(score) -> None:
    real = np.random.default_rng(0).normal(size=(40, 5))
    values = [score(np.concatenate([real[:kept]] * (40 // kept)), real) for kept in (40, 20, 4)]
    assert values[0] == 1 and values == sorted(values, reverse=True) and values[2] < 0.7, values


def test_less_variety_than_among_real_patients_is_a_gap(painted: list[np.ndarray]) -> None:
    gaps = [
        diversity_gap([*painted[:kept], *[painted[0]] * (len(painted) - kept)], painted, None, 0)["gap"]
        for kept in (3, 2, 1)
    ]
    assert gaps[0] == 0 and grows(gaps), gaps


def test_noise_makes_pairs_less_alike_than_real_ones(painted: list[np.ndarray]) -> None:
    gaps = [-diversity_gap(made, painted, None, 0)["gap"] for made in worsened(painted, noise)]
    assert grows(gaps), gaps
