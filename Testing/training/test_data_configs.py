"""What is wrong in a config of ``prepare`` or ``label`` is one sentence that names the entry, never a traceback."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from SynthCTLib.errors import InputError
from Testing.training.test_prepare_sources import chest, save
from training.__main__ import main
from training.config import load_config
from training.label import label
from training.prepare import prepare
from training.settings import read_settings, read_top_level

CONFIGS = Path(__file__).parents[2] / "training" / "configs"


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    for seed in (0, 1):
        save(tmp_path / "in" / f"ct{seed}.nii.gz", chest(seed=seed))
    source = {"source": str(tmp_path / "in"), "data": {"kind": "images"}, "prepared": str(tmp_path / "out")}
    return source | {"split": {"train": 2, "val": 1}}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"split": {"train": "a", "val": 1}}, r"at 'split\.train': 'a' is not of type 'number'"),
        ({"split": 0.8}, "at 'split': 0.8 is not of type 'object'"),
        ({"split": {"train": 1, "seed": "x"}}, r"at 'split\.seed'"),
        ({"checks": {"min_slices": "x"}}, r"at 'checks\.min_slices': 'x' is not of type 'number'"),
        ({"checks": {"slices": 3}}, "There is no check 'slices'"),
        ({"data": {"kind": "images", "region": "chest"}}, r"at 'data\.region'"),
        ({"data": {"kind": "images", "pateint": "^p"}}, "at 'data': .*'pateint' was unexpected"),
        ({"data": {"transform": {"crop": [4, 4]}}}, r"at 'data\.transform\.crop': \[4, 4\] is too short"),
        ({"sources": ["setA", "setB"]}, r"at 'sources\.1': 'setB' is not of type 'object'"),
        ({"sources": [{"kind": "images"}]}, r"at 'sources\.0': 'path' is a required property"),
        ({"splits": "train"}, "at 'splits'"),
        ({"exclude": ["ct0"]}, "at 'exclude'"),
        ({"prepared": 3}, "at 'prepared'"),
    ],
)
def test_prepare_names_the_entry_that_is_wrong(config: dict[str, Any], change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        prepare(config | change)


@pytest.mark.parametrize("missing", ["source", "prepared"])
def test_prepare_says_what_is_missing(config: dict[str, Any], missing: str) -> None:
    del config[missing]
    with pytest.raises(InputError, match=f"The config has no '{missing}', which this stage needs"):
        prepare(config)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.json")), ids=lambda path: path.stem)
def test_the_configs_that_are_there_are_valid(path: Path) -> None:
    config = load_config(path, [])
    read_top_level(config, "prepare")
    read_settings({"label": {}, **config}, "label")


def test_a_folder_of_images_without_data_in_the_config_is_pointed_to_the_other_config(
    config: dict[str, Any], tmp_path: Path
) -> None:
    del config["data"]
    with pytest.raises(
        InputError, match=r"has no manifest\.csv, .*own_folder\.json, or add \"data\": {\"kind\": \"auto\"}"
    ):
        prepare(config)
    (tmp_path / "in" / "manifest.csv").write_text("case_id,split\na,train\n")
    with pytest.raises(InputError, match="has no column 'has_ct'"):
        prepare(config)


def test_label_takes_the_config_of_prepare_and_refuses_an_atlas_that_is_not_there(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(config)
    path = tmp_path / "own.json"
    own = load_config(CONFIGS / "own_folder.json", ["prepared=" + config["prepared"]])
    path.write_text(json.dumps({key: value for key, value in own.items() if key != "label"}))
    monkeypatch.setattr(sys, "argv", ["training", "label", "--config", str(path)])
    assert main() == 0 and (tmp_path / "out" / "ct0" / "mask.npy").is_file()
    for atlas in ("ct9", "ct1"):  # not prepared; without labels
        with pytest.raises(InputError, match=f"gives ct0 the labels of {atlas}, which is no prepared training CT with"):
            label(own | {"label": {"atlas": {"ct0": atlas}}})
    label(own | {"label": {"atlas": {"not_here": "ct9"}}})
    with pytest.raises(InputError, match="The config's 'label' is no section"):
        label(own | {"label": ["atlas"]})
    with pytest.raises(InputError, match=r"at 'label\.atlas'"):
        label(own | {"label": {"atlas": "ct1"}})
    with pytest.raises(InputError, match="The config has no 'prepared'"):
        label({"label": {}})
