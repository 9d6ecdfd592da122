"""Lesions that are painted into CTs look like what they are called, and leave the rest as it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from benchmarks.lesion_contrast import compare
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.lesion import default_hosts, put_lesion
from Testing.training.small_runs import chest_mask
from training.files import save_array
from training.lesion_cases import lesion_cases
from training.simulated_lesions import LOOKS, paint_lesion, simulate_lesions

SPACING = np.array([2.0, 2.0, 2.0])
ORGAN_HU = {200: 0, 28: -850, 30: -850, 1: 100, 26: 100}


def chest() -> tuple[np.ndarray, np.ndarray]:
    """CT and mask of a chest with a liver; noise of 10 HU."""
    mask = chest_mask((48, 48, 48))
    mask[mask == 26] = 1
    hu = np.full(mask.shape, -1000.0, np.float32)
    for label, value in ORGAN_HU.items():
        hu[mask == label] = value
    return hu + np.random.default_rng(0).normal(0, 10, hu.shape).astype(np.float32), mask


def test_every_lesion_of_the_vocabulary_has_one_look_that_says_where_its_values_come_from() -> None:
    assert set(LOOKS) == {label.id for label in load_vocabulary().lesions()}
    for lesion, look in LOOKS.items():
        assert default_hosts(lesion) and look["source"]
        assert ("hu" in look) != ("below_host" in look)
        for key in ("hu", "below_host", "host_hu", "diameter_mm"):
            assert key not in look or look[key][0] < look[key][1]


def test_lesions_are_soft_tissue_in_lung_and_darker_than_liver() -> None:
    hu, mask = chest()
    made, labels, painted = simulate_lesions(hu, mask, SPACING, 6, np.random.default_rng(1))
    assert {23, 26} <= set(painted) <= {23, 26}
    assert -40 < np.median(made[labels == 23]) < 60
    assert 30 < np.median(made[labels == 26]) < 80
    far = ndimage.distance_transform_edt(labels == mask, sampling=SPACING) > 8
    assert np.allclose(made[far], hu[far], atol=0.1)
    assert np.array_equal(labels == mask, ~np.isin(labels, [23, 26]))


def test_the_same_draws_give_the_same_lesions_and_the_input_stays() -> None:
    hu, mask = chest()
    before = hu.copy(), mask.copy()
    first, second = (simulate_lesions(hu, mask, SPACING, 3, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first[0], second[0]) and first[2] == second[2]
    assert np.array_equal(hu, before[0]) and np.array_equal(mask, before[1])


def test_no_lesion_is_painted_where_the_mask_does_not_fit_the_ct() -> None:
    hu, mask = chest()
    hu[mask == 1] = -850  # the liver is where the CT shows lung
    _, _, painted = simulate_lesions(hu, np.where(mask == 1, mask, 200), SPACING, 3, np.random.default_rng(1))
    assert painted == []


def test_a_painted_lesion_keeps_the_noise_and_has_a_soft_border() -> None:
    hu, _ = chest()
    hu[:] = np.random.default_rng(0).normal(100, 10, hu.shape)
    lump = np.zeros(hu.shape, bool)
    lump[16:32, 16:32, 16:32] = True
    made = hu.copy()
    paint_lesion(made, lump, 40.0, SPACING)
    core, border = made[20:28, 20:28, 20:28], made[15:17, 20:28, 20:28]
    assert core.mean() == pytest.approx(40, abs=2)
    assert 6 < core.std() < 12
    assert 45 < border.mean() < 95
    assert np.allclose(made[:10], hu[:10], atol=0.1)


def test_the_stage_adds_cases_with_lesions_to_the_training_split_alone(tmp_path: Path) -> None:
    hu, mask = chest()
    entries = []
    for name, split in (("a", "train"), ("b", "val")):
        folder = tmp_path / "prepared" / name
        folder.mkdir(parents=True)
        np.save(folder / "ct.npy", np.rint(hu).astype(np.int16))
        np.save(folder / "mask.npy", mask)
        entries.append(
            {
                "case_id": name,
                "split": split,
                "group": "x",
                "spacing": [2, 2, 2],
                "has_many_organ_labels": True,
                "files": {},
            }
        )
    (tmp_path / "prepared" / "cases.json").write_text(json.dumps({"cases": entries}))
    out = tmp_path / "with"
    config = {"seed": 1, "prepared": str(tmp_path / "prepared")}
    config["lesions"] = {"folder": str(out), "versions": {"rich": 2, "other": 0}}
    lesion_cases(config)
    cases = json.loads((out / "cases.json").read_text())["cases"]
    assert [case["case_id"] for case in cases] == ["a", "b", "a_lesions_0", "a_lesions_1"]
    assert {case["group"] for case in cases[2:]} == {"rich with lesions"}
    for case in cases:
        labels = np.load(out / case["case_id"] / "mask.npy")
        assert bool(np.isin(labels, list(LOOKS)).any()) == ("simulated_lesions" in case)
        assert ("files" in case) != ("simulated_lesions" in case)  # hashes of other arrays


def test_cases_beside_lesions_follow_the_prepared_ones_and_never_change_them(tmp_path: Path) -> None:
    source = tmp_path / "prepared" / "a"
    source.mkdir(parents=True)
    np.save(source / "ct.npy", np.full((4, 4, 4), 10, np.int16))
    np.save(source / "mask.npy", np.full((4, 4, 4), 200, np.uint8))
    entry = {"case_id": "a", "split": "val", "group": "x", "spacing": [2, 2, 2], "has_many_organ_labels": False}
    (tmp_path / "prepared" / "cases.json").write_text(json.dumps({"cases": [entry]}))
    out = tmp_path / "with"
    config = {
        "seed": 1,
        "prepared": str(tmp_path / "prepared"),
        "lesions": {"folder": str(out), "versions": {"rich": 0, "other": 0}},
    }
    lesion_cases(config)
    save_array(out / "a" / "mask.npy", np.zeros((4, 4, 4), np.uint8))
    assert np.load(source / "mask.npy").min() == 200
    save_array(source / "ct.npy", np.full((4, 4, 4), 20, np.int16))
    lesion_cases(config)
    assert np.load(out / "a" / "ct.npy").min() == 20 and np.load(out / "a" / "mask.npy").min() == 200


def test_lesion_contrast_tells_the_lesion_its_organ_and_the_rest_of_the_body_apart() -> None:
    hu, mask = chest()
    edit = put_lesion(mask, np.diag([*SPACING, 1.0]), 26, 16, seed=1)
    made = np.where(edit.labels == 26, hu - 50, hu + 2)
    scores = compare(hu, made, mask, edit, SPACING)
    assert scores["inside"] == pytest.approx(-50, abs=0.1)
    assert scores["contrast"] == pytest.approx(-52, abs=2)
    assert scores["beside"] == pytest.approx(2, abs=0.1) and scores["far"] == pytest.approx(2, abs=0.1)
