"""Stage *md-readers*: CT and MR, real and made, in one blinded form; the scorecard says that MR is not for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from SynthCTLib.errors import InputError
from Testing.training.medical_diffusion_cases import tiny_config, write_prepared
from training.medical_diffusion.readers import shown, write_reader_form
from training.reader_tally import tally
from training.scan_files import read_folder


@pytest.fixture
def mr(tmp_path: Path) -> dict[str, Any]:
    """Config, three held-out MR volumes, and four made ones as ``synthct generate --count`` writes them."""
    config = tiny_config(tmp_path)
    config["volumes"]["intensity"] = {"min_max": True}
    config["export"]["card"]["modality"] = "mr"
    config["md-readers"] |= {"made": str(tmp_path / "made"), "number": 3, "forms": str(tmp_path / "forms")}
    write_prepared(config, val=3, modality="mr")
    for number in range(6):
        case = tmp_path / "prepared" / f"case{number}"
        np.save(case / "mr.npy", np.load(case / "ct.npy").astype(np.float32) + 1000)
    for number in range(4):
        (tmp_path / "made" / f"{number:03d}").mkdir(parents=True)
        volume = np.random.default_rng(number).uniform(0, 700, (16, 16, 8)).astype(np.float32)
        nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / "made" / f"{number:03d}" / "mr.nii.gz")
    return config


def test_readers_get_a_form_of_mr_whose_grades_are_counted(mr: dict[str, Any], tmp_path: Path) -> None:
    write_reader_form(mr)
    pages = Path(mr["run"]) / "scorecards"
    page = (pages / "medical-diffusion-reader-form.html").read_text(encoding="utf-8")
    key = json.loads((pages / "medical-diffusion-reader-key.json").read_text(encoding="utf-8"))
    assert sorted(entry["kind"] for entry in key.values()) == ["made"] * 3 + ["real"] * 3
    assert (
        "<h2>MR image 6</h2>" in page and "recognizable as MR image" in page and " CT" not in page and ">CT" not in page
    )
    names = {line.split('name="')[1].split('"')[0] for line in page.split("<label>") if 'name="' in line}
    grades = dict.fromkeys(names - {"reader"}, "A")
    (tmp_path / "forms").mkdir()
    (tmp_path / "forms" / "grades.json").write_text(json.dumps({"reader": "One", **grades}))
    tally(mr)
    found = json.loads((pages / "medical-diffusion-readers.json").read_text(encoding="utf-8"))
    assert found["all"]["sensitivity"]["value"] == 1 and found["all"]["specificity"]["value"] == 0


def test_all_grays_of_mr_are_shown_and_ct_in_its_units() -> None:
    volume = np.array([-1.0, 0.0, 1.0])
    assert shown(volume, {"min_max": True}).tolist() == [-250, 50, 350]
    assert shown(volume, {"window": [-1000, 1000]}).tolist() == [-1000, 0, 1000]


def test_without_made_volumes_it_is_said_how_to_make_them(mr: dict[str, Any], tmp_path: Path) -> None:
    mr["md-readers"]["made"] = str(tmp_path / "none")
    with pytest.raises(InputError, match="synthct generate --count"):
        write_reader_form(mr)


def test_a_folder_of_mr_is_no_folder_for_a_scorecard(mr: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="holds MR images"):
        read_folder(Path(mr["md-readers"]["made"]), [])
