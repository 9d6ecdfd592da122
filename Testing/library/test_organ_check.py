"""Median HU of each organ against its accepted range."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from SynthCTLib import organ_check
from SynthCTLib.cases import demo_case
from SynthCTLib.errors import InputError
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.organ_check import check_organs, score

vocabulary = load_vocabulary()


def filled(values: dict[int, int], voxels: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """A CT and label map in which each label is one row of ``voxels`` voxels with one HU."""
    labels = np.repeat(np.array(list(values), np.uint8)[:, None, None], voxels, axis=1)
    hu = np.repeat(np.array(list(values.values()), np.int16)[:, None, None], voxels, axis=1)
    return hu, labels


def by_id(results):
    return {result.id: result for result in results if result.id is not None}


def groups(results):
    return {result.name.split()[0].lower(): result for result in results if result.id is None}


@pytest.mark.parametrize("voxels", [21, 22])
def test_medians_are_those_of_numpy_for_odd_and_even_counts(voxels):
    random = np.random.default_rng(0)
    labels = np.repeat(np.array([1, 3, 200], np.uint8)[:, None, None], voxels, axis=1)
    hu = random.integers(-1024, 3072, labels.shape).astype(np.int16)
    found = by_id(check_organs(hu, labels, vocabulary))
    for label_id in (1, 3, 200):
        assert found[label_id].median_hu == np.median(hu[labels == label_id])
        assert found[label_id].voxels == voxels


def test_large_volumes_are_counted_in_slabs_with_the_same_result(monkeypatch):
    random = np.random.default_rng(1)
    labels = random.choice(np.array([0, 1, 3, 28], np.uint8), (9, 8, 7))
    hu = random.integers(-1000, 1000, labels.shape).astype(np.int16)
    whole = check_organs(hu, labels, vocabulary)
    monkeypatch.setattr(organ_check, "_VOXELS_AT_A_TIME", 2 * 8 * 7)
    assert check_organs(hu, labels, vocabulary) == whole


@pytest.mark.parametrize(("hu", "verdict"), [(-22, "low"), (-21, "ok"), (162, "ok"), (163, "high")])
def test_the_verdict_changes_at_the_limits_of_the_range(hu, verdict):
    result = by_id(check_organs(*filled({1: hu}), vocabulary))[1]
    assert result.verdict == verdict
    assert (result.low, result.high) == (-21.6, 162.0)


def test_the_sentence_names_organ_median_and_limits():
    (good,) = check_organs(*filled({3: 90}), vocabulary)
    (bad,) = check_organs(*filled({3: -400}), vocabulary)
    assert good.sentence == "Spleen: median 90 HU, within -43 to 184 HU."
    assert bad.sentence == "Spleen: median -400 HU is too low (accepted: -43 to 184 HU)."


def test_the_lung_group_has_all_five_lobes():
    lobes = {28: -850, 29: -850, 30: -850, 31: 40, 32: 40}
    assert groups(check_organs(*filled(lobes), vocabulary))["lungs"].voxels == 5 * 64
    lobes[30] = 40  # now most of the lung is as dense as tissue: 30, 31 and 32
    results = check_organs(*filled(lobes), vocabulary)
    assert groups(results)["lungs"].verdict == "high"
    assert {i: result.verdict for i, result in by_id(results).items()} == {
        28: "ok", 29: "ok", 30: "high", 31: "high", 32: "high",
    }  # fmt: skip


def test_groups_appear_only_where_one_of_their_labels_does():
    assert groups(check_organs(*filled({1: 60}), vocabulary)) == {}
    assert set(groups(check_organs(*filled({14: 100, 33: 200}), vocabulary))) == {"kidneys", "bones"}


def test_bones_as_soft_as_muscle_are_reported():
    results = check_organs(*filled({33: 30, 63: 30, 95: 30}), vocabulary)
    assert groups(results)["bones"].verdict == "low"


def test_the_results_of_the_seven_organ_groups_are_marked_and_no_others():
    values = {1: 60, 3: 90, 4: 40, 5: 110, 6: 200, 22: 35, 28: -850, 33: 200, 121: 20}
    marked = {result.group: result.id for result in check_organs(*filled(values), vocabulary) if result.group}
    assert marked == {"liver": 1, "spleen": 3, "pancreas": 4, "brain": 22, "kidney": None, "lung": None, "bone": None}


def test_few_voxels_are_not_judged():
    (result,) = check_organs(*filled({9: 900}, voxels=19), vocabulary)
    assert result.verdict == "too small" and "only 19 voxels" in result.sentence
    (result,) = check_organs(*filled({9: 900}, voxels=20), vocabulary)
    assert result.verdict == "high"


@pytest.mark.parametrize("label_id", [2, 150])
def test_unused_and_unknown_ids_have_no_range_and_do_not_count(label_id):
    results = check_organs(*filled({label_id: 30, 1: 60}), vocabulary)
    assert by_id(results)[label_id].verdict == "no range"
    assert score(results) == 1.0


def test_the_score_is_the_share_of_good_organs_however_large_they_are():
    hu, labels = filled({1: 60, 3: 90, 6: 2000, 15: -900})
    hu, labels = np.concatenate([hu, hu[:1]]), np.concatenate([labels, labels[:1]])  # twice as much liver
    assert score(check_organs(hu, labels, vocabulary)) == 0.5


def test_nothing_to_judge_scores_zero():
    assert check_organs(*filled({0: -1000}), vocabulary) == []
    assert score([]) == 0.0


def test_every_typical_hu_passes_its_own_check():
    typical = {label.id: round(label.hu_typical) for label in vocabulary.labels if label.hu_typical is not None}
    assert score(check_organs(*filled(typical), vocabulary)) == 1.0


def test_values_beyond_the_ct_scale_count_as_its_ends():
    hu, labels = filled({1: 30000})
    assert check_organs(hu, labels, vocabulary)[0].median_hu == 3071


def test_results_can_be_written_as_json():
    results = check_organs(*filled({1: 60, 28: -850}), vocabulary)
    assert json.loads(json.dumps([result.to_json() for result in results]))[1]["verdict"] == "ok"


def test_unequal_grids_fractional_values_and_foreign_ids_are_refused():
    hu, labels = filled({1: 60})
    with pytest.raises(InputError, match="size"):
        check_organs(hu, labels[:, :-1], vocabulary)
    with pytest.raises(InputError, match="CT has values of type float32"):
        check_organs(hu.astype(np.float32), labels, vocabulary)
    with pytest.raises(InputError, match="300"):
        check_organs(hu, np.full(labels.shape, 300, np.int32), vocabulary)


def test_every_median_on_a_real_map_is_that_of_numpy():
    image = nib.load(demo_case().path)
    labels = np.asarray(image.dataobj)[::2, ::2, ::2].astype(np.uint8)
    hu = np.random.default_rng(2).normal(50, 300, labels.shape).astype(np.int16)
    found = by_id(check_organs(hu, labels, vocabulary))
    assert set(found) == set(np.unique(labels).tolist()) - {0} and len(found) > 60
    for label_id, result in found.items():
        values = hu[labels == label_id]
        assert (result.median_hu, result.voxels) == (np.median(values), len(values))
