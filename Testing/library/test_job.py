"""Jobs: what a job file may say, and what comes out of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from SynthCTLib.errors import InputError
from SynthCTLib.job import Job, job_from_json, job_to_json, read_job

SMALLEST = {"schema": 1, "mask": "m.nii.gz", "out": "o"}


def test_the_smallest_job_has_only_mask_and_out() -> None:
    job = job_from_json(SMALLEST)
    assert (job.mask, job.out) == (Path("m.nii.gz"), Path("o"))
    assert job == Job(Path("m.nii.gz"), Path("o"))


def test_a_job_survives_the_way_through_json(tmp_path: Path) -> None:
    label_map = tmp_path / "map ü.json"
    label_map.write_text("{}", encoding="utf-8")
    job = Job(
        mask=tmp_path / "a b.nii",
        out=tmp_path / "out",
        region="chest",
        labels=str(label_map),
        ct=tmp_path / "ct.nii",
        size=(128, 128, 96),
        spacing=(3.0, 3.0, 4.0),
        steps=10,
        solver="euler",
        guidance=2.0,
        seed=7,
        device="cpu",
        grid="input",
        retries=2,
        count=3,
        stop_with_stdin=True,
    )
    assert job_from_json(json.loads(json.dumps(job_to_json(job)))) == job


def test_relative_paths_start_at_the_folder_of_the_job_file(tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text("{}", encoding="utf-8")
    path = tmp_path / "job.json"
    path.write_text(json.dumps({**SMALLEST, "ct": "ct.nii", "labels": "map.json"}), encoding="utf-8")
    job = read_job(path)
    assert (job.mask, job.out, job.ct) == (tmp_path / "m.nii.gz", tmp_path / "o", tmp_path / "ct.nii")
    assert job.label_map() == tmp_path / "map.json" and job.scheme() is None


def test_a_named_scheme_is_no_label_map() -> None:
    job = job_from_json({**SMALLEST, "labels": "totalsegmentator"})
    assert job.scheme() == "totalsegmentator" and job.label_map() is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": "30"}, "steps"),
        ({"size": [128, 128]}, "size"),
        ({"size": [128, 128, 0]}, "size"),
        ({"spacing": [1.0, 1.0, -1.0]}, "spacing"),
        ({"solver": "magic"}, "solver"),
        ({"guidance": -1}, "guidance"),
        ({"seed": -1}, "seed"),
        ({"grid": "other"}, "grid"),
        ({"retries": -1}, "retries"),
        ({"count": 0}, "count"),
        ({"colour": 1}, "colour"),
        ({"schema": 2}, "schema"),
        ({"mask": ""}, "mask"),
        ({"labels": "no-such-scheme"}, "no-such-scheme"),
    ],
)
def test_a_wrong_value_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        job_from_json({**SMALLEST, **change})


def test_a_job_for_a_model_that_takes_no_mask_has_none() -> None:
    assert job_from_json({"schema": 1, "out": "o"}).mask is None
    assert job_from_json({"schema": 1, "mask": None, "out": "o"}).mask is None


@pytest.mark.parametrize("missing", ["schema", "out"])
def test_a_missing_value_is_named(missing: str) -> None:
    with pytest.raises(InputError, match=missing):
        job_from_json({key: value for key, value in SMALLEST.items() if key != missing})


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"mask"'])
def test_a_file_that_is_no_job_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "job.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        read_job(path)


def test_a_missing_job_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json"):
        read_job(tmp_path / "none.json")


def test_all_cts_and_retries_of_a_job_have_different_seeds_and_always_the_same() -> None:
    job = Job(Path("m"), Path("o"), seed=2**32 - 3)
    seeds = [job.seed_of(number, attempt) for number in range(1000) for attempt in range(101)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert job.seed_of(0, 0) == job.seed


def test_a_job_without_seed_gets_a_new_one_each_time() -> None:
    job = Job(Path("m"), Path("o"))
    assert job.with_seed().seed != job.with_seed().seed
    assert Job(Path("m"), Path("o"), seed=0).with_seed().seed == 0
