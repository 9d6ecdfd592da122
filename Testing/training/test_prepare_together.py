"""Several sources in one ``prepare``: equal names of files and patients in them cost no case and mix no patients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from Testing.training.dicom_files import write_series
from Testing.training.test_prepare_sources import chest, save
from training.prepare import prepare


def run(sources: list[dict[str, Any]], tmp_path: Path) -> tuple[dict[str, dict], list[dict]]:
    """(cases by id, what was left out); every case is there once."""
    split = {"train": 0.5, "val": 0.5}
    out = tmp_path / "prepared"
    prepare({"sources": sources, "prepared": str(out), "split": split, "checks": {"min_extent": 10}})
    listed = json.loads((out / "cases.json").read_text())
    cases = {case["case_id"]: case for case in listed["cases"]}
    assert len(cases) == len(listed["cases"])
    return cases, listed["left_out"]


def source(path: Path, **settings: Any) -> dict[str, Any]:
    return {"path": str(path), "kind": "images", **settings}


def test_equal_file_names_in_two_sources_are_two_cases_of_two_patients(tmp_path: Path) -> None:
    folders = [tmp_path / "setA", tmp_path / "setB", tmp_path / "more" / "setB"]
    for number, folder in enumerate(folders):
        save(folder / "ct01.nii.gz", chest(seed=number))
        save(folder / f"own{number}.nii.gz", chest(seed=number + 10))
    before, _ = run([source(folder) for folder in folders[:2]], tmp_path)
    cases, left_out = run([source(folder) for folder in folders], tmp_path)
    assert set(cases) == {"ct01", "own0", "setB_ct01", "own1", "setB_2_ct01", "own2"} and not left_out
    assert {case["patient"] for case in cases.values()} == set(cases)
    for number, name in enumerate(("ct01", "setB_ct01", "setB_2_ct01")):
        assert np.array_equal(np.load(tmp_path / "prepared" / name / "ct.npy"), chest(seed=number))
    assert all(cases[name] == case for name, case in before.items())  # one more source changes nothing


def test_a_patient_with_an_id_or_of_the_same_group_is_one_in_all_sources(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for seed, folder in enumerate((first, second)):
        save(folder / "p7.nii.gz", chest(seed=seed))
        write_series(folder / "scan", chest(seed=seed))
    for settings in ({"patient": "^p[0-9]+"}, {"group": "clinic"}):
        with_other = [source(folder, **settings) for folder in (first, second)] + [source(tmp_path / "third")]
        save(tmp_path / "third" / "other.nii.gz", chest(seed=5))
        cases, _ = run(with_other, tmp_path / next(iter(settings)))
        assert len(cases) == 3 and len({case["patient"] for case in cases.values()}) == 2
    dicom = [source(folder, kind="dicom") for folder in (first, second)]
    cases, _ = run([*dicom, source(tmp_path / "third")], tmp_path / "dicom")
    assert len(cases) == 3 and len({case["patient"] for case in cases.values()}) == 2


def test_a_folder_that_is_listed_twice_gives_its_cases_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(tmp_path / "set" / f"{name}.nii.gz", chest())
    cases, left_out = run([source(tmp_path / "set"), source(tmp_path / "set")], tmp_path)
    assert set(cases) == {"a", "b"}
    assert [item["reason"] for item in left_out] == ["another source has it already (the same files)."] * 2
