"""Stage *md-evaluate*: white dots are counted, CTs keep their place on the baselines' grid, and a scorecard appears."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from SynthCTLib.errors import InputError
from Testing.training.medical_diffusion_cases import CONFIG, tiny_config, write_prepared
from training.config import load_config
from training.files import write_json
from training.medical_diffusion.judge import evaluate_model, placed
from training.medical_diffusion.vqgan_stage import train_vqgan
from training.medical_diffusion.white_dots import count_white_dots, white_dots
from training.scans import Scan

pytestmark = pytest.mark.usefixtures("one_thread")


def test_single_bright_voxels_are_white_dots_and_bone_two_voxels_thick_is_not() -> None:
    hu = np.zeros((12, 12, 12), np.int16)
    hu[2, 2, 2] = hu[9, 9, 9] = hu[0, 0, 0] = 900
    hu[5:7, 5, 5] = 900
    hu[8, 2, 2] = 250
    assert count_white_dots(hu) == 3
    found = white_dots([hu, np.zeros_like(hu)])
    assert (found["volumes"], found["volumes_with_dots"], found["dots"], found["most_in_a_volume"]) == (2, 1, 3, 3)


def test_a_made_ct_is_put_on_the_grid_around_its_middle_with_air_where_it_ends() -> None:
    hu = np.full((8, 8, 8), -1000, np.int16)
    hu[3:5, 3:5, 3:5] = 500
    on = placed(Scan("1", hu, None, (4.0, 4.0, 4.0)), {"shape": [12, 6, 8], "spacing": [4.0, 4.0, 4.0]})
    assert on.hu.shape == (12, 6, 8) and on.spacing == (4.0, 4.0, 4.0)
    assert (on.hu[5:7, 2:4, 3:5] == 500).all() and (on.hu == 500).sum() == 8 and (on.hu[:2] == -1000).all()


def test_made_cts_get_a_scorecard_of_the_baselines_with_white_dots_and_pictures(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    write_prepared(config, train=4, val=4)
    prepared = Path(config["prepared"])
    for case in prepared.glob("case*/ct.npy"):
        np.save(case.with_name("mask.npy"), np.where(np.load(case) > -500, 200, 0).astype(np.uint8))
    beside = load_config(CONFIG.with_name("baselines.json"), [])
    beside |= {"prepared": str(prepared), "run": str(tmp_path / "beside"), "group": "own"}
    beside["grid"] = {"shape": [16, 16, 8], "spacing": [3.0, 3.0, 3.0]}
    beside["judge"] |= {"extractors": ["random-convolutions"], "slices": 2, "rounds": 2, "copy_encoder_steps": 1}
    write_json(tmp_path / "baselines.json", beside)
    config["md-evaluate"] |= {
        key: str(tmp_path / name)
        for key, name in {
            "baselines": "baselines.json",
            "made": "made",
            "out": "card.json",
            "picture": "p.png",
            "curves": "c.png",
        }.items()
    }
    with pytest.raises(InputError, match="'vqgan'"):
        evaluate_model(config)
    train_vqgan(config)
    for number in range(4):
        image = nib.Nifti1Image(np.load(prepared / f"case{number}" / "ct.npy")[:16], np.diag([3.0, 3, 3, 1]))
        (tmp_path / "made" / f"{number}").mkdir(parents=True)
        nib.save(image, tmp_path / "made" / f"{number}" / "ct.nii.gz")
    evaluate_model(config)
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["n"] == 4 and card["grid"] == beside["grid"] and card["made_on"]["shape"] == [16, 16, 8]
    assert card["white_dots"]["made"]["volumes"] == card["white_dots"]["real"]["volumes"] == 4
    assert card["frechet"] and card["frechet_seen"] and card["reconstruction_error_hu"]["mean"] > 0
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("p.png", "c.png"))
