"""The stage *tally*: filled-in reader forms become sensitivity and specificity."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from SynthCTLib.errors import InputError
from training.files import write_json
from training.reader_form import CATEGORIES
from training.reader_tally import tally

KINDS = {"1": "made", "2": "real", "3": "made", "4": "real", "5": "made", "6": "made", "7": "real", "8": "real"}


def form(reader: str, grades: str) -> dict[str, str]:
    """What the page saves: one grade per CT, the same in all categories."""
    answers = {
        f"{number} {category}": grade for number, grade in zip(KINDS, grades, strict=True) for category in CATEGORIES
    }
    return {"reader": reader, **answers}


@pytest.fixture
def config(tmp_path: Path) -> dict:
    key = {number: {"kind": kind, "name": f"case_{number}"} for number, kind in KINDS.items()}
    write_json(tmp_path / "run" / "scorecards" / "tiny-reader-key.json", key)
    return {"run": str(tmp_path / "run"), "evaluate": {"name": "tiny", "forms": str(tmp_path / "forms")}}


def test_recognized_cts_are_counted_per_reader_and_over_all(config: dict, tmp_path: Path) -> None:
    write_json(
        tmp_path / "forms" / "a.json", form("Ann", "ADDDCBDD")
    )  # three of four made ones found, no real one lost
    write_json(tmp_path / "forms" / "b.json", form("Ben", "DCDDDDDD"))  # none found, one real one lost
    tally(config)
    found = json.loads((tmp_path / "run" / "scorecards" / "tiny-readers.json").read_text())
    ann, everyone = found["readers"]["Ann"], found["all"]
    assert (ann["sensitivity"]["value"], ann["specificity"]["value"]) == (0.75, 1)
    assert (everyone["sensitivity"]["value"], everyone["specificity"]["value"]) == (3 / 8, 7 / 8)
    low, high = ann["sensitivity"]["95_percent"]
    assert low == pytest.approx(0.3006, abs=1e-4) and high == pytest.approx(0.9544, abs=1e-4)  # Wilson, 3 of 4
    assert ann["mean_grade"]["Anatomic correctness"] == {"made": (1 + 4 + 3 + 2) / 4, "real": 4}


@pytest.mark.parametrize(
    ("forms", "message"),
    [
        ([], "no filled-in forms"),
        ([{"reader": "Ann"}], "not a complete form"),
        ([form("Ann", "DDDDDDDE")], "not a complete form"),
        ([form("Ann", "DDDDDDDD"), form("Ann", "AAAAAAAA")], "same reader"),
    ],
)
def test_forms_that_cannot_be_counted_are_named(config: dict, tmp_path: Path, forms: list, message: str) -> None:
    for number, answers in enumerate(forms):
        write_json(tmp_path / "forms" / f"{number}.json", answers)
    with pytest.raises(InputError, match=message):
        tally(config)


def test_without_a_key_the_way_to_one_is_named(config: dict) -> None:
    config["evaluate"]["name"] = "other"
    with pytest.raises(InputError, match="run 'evaluate' for 'other'"):
        tally(config)
