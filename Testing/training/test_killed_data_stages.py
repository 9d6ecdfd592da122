"""``prepare``, ``label`` and ``encode``: killed at once while a file is written, each goes on to what an unbroken run
makes, does nothing twice and leaves nothing broken."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.training.killed_stage import run_until_killed
from Testing.training.small_images import autoencoder_config, write_cases
from Testing.training.test_prepare_sources import chest, save
from training.autoencoder import train_autoencoder
from training.encode import encode
from training.label import label
from training.prepare import prepare

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL"),
]
ATLAS = {"b": "a"}


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """Three chests, of which the first has a liver; what ``prepare`` and ``label`` need."""
    for number, name in enumerate("abc"):
        save(tmp_path / "in" / f"{name}.nii.gz", chest(seed=number))
    liver = np.zeros(chest().shape, np.uint8)
    liver[20:30, 10:20, 3:9] = 1
    save(tmp_path / "in" / "a_labels.nii.gz", liver)
    data = {"kind": "images", "scheme": "maisi", "region": ["chest"]}
    split = {"train": 1}
    return {"source": str(tmp_path / "in"), "data": data, "split": split, "prepared": str(tmp_path / "out")} | {
        "label": {"atlas": ATLAS}
    }


def times(files: Iterable[Path]) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in files}


def same_files(one: Path, other: Path, pattern: str) -> bool:
    """Whether two folders have the same files of the pattern, byte for byte."""
    found = [{path.relative_to(folder): path.read_bytes() for path in folder.rglob(pattern)} for folder in (one, other)]
    return found[0] == found[1] and bool(found[0])


def test_a_killed_prepare_goes_on_with_the_case_it_was_at(config: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_until_killed(config, "prepare", 2, "ct.npy")
    assert not (out / "cases.json").exists() and not (out / "c" / "ct.npy").exists()
    before = times([out / name / "ct.npy" for name in "ab"])
    prepare(config)
    assert before == times([out / name / "ct.npy" for name in "ab"])
    prepare(config | {"prepared": str(tmp_path / "whole")})
    assert same_files(out, tmp_path / "whole", "*.npy") and same_files(out, tmp_path / "whole", "cases.json")


@pytest.fixture
def exact_registration(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread for SimpleITK, here and in new processes: the order of its sums, and so the result, is fixed."""
    monkeypatch.setenv("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
    count = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    yield
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(count)


@pytest.mark.usefixtures("exact_registration")
@pytest.mark.parametrize(("written", "count"), [("mask.npy", 1), ("carried_a.npy", 0)])
def test_a_killed_label_goes_on_and_what_is_there_is_not_made_again(
    config: dict[str, Any], tmp_path: Path, written: str, count: int
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    prepare(config)
    shutil.copytree(out, whole)
    run_until_killed(config, "label", count, written)
    assert not (out / "b" / written).exists() and not (out / "masks.json").exists()
    before = (out / "a" / "mask.npy").stat().st_mtime_ns
    label(config)
    assert before == (out / "a" / "mask.npy").stat().st_mtime_ns
    label(config | {"prepared": str(whole)})
    assert same_files(out, whole, "mask.npy") and same_files(out, whole, "masks.json")
    assert 1 in np.load(out / "b" / "mask.npy")  # carried over from the first


def test_label_does_again_only_what_has_changed(config: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    prepare(config)
    label(config)
    masks, records = [out / name / "mask.npy" for name in "abc"], [out / name / "mask.json" for name in "abc"]
    made = json.loads((out / "masks.json").read_text())
    kept, written = times([*masks, *records]), [path.stat().st_mtime_ns for path in masks]
    label(config)
    assert kept == times([*masks, *records]) and made == json.loads((out / "masks.json").read_text())
    for path in (out / "b" / "ct.npy", out / "c" / "ct.npy"):
        os.utime(path)  # as after a copy: labeled again, to the same masks
    record = records[2].stat().st_mtime_ns
    label(config)
    assert written == [path.stat().st_mtime_ns for path in masks] and record != records[2].stat().st_mtime_ns
    (out / "b" / "carried_a.npy").write_bytes((out / "b" / "carried_a.npy").read_bytes()[:200])
    label(config | {"label": {"atlas": {}}})
    assert 1 not in np.load(masks[1]) and [path.stat().st_mtime_ns for path in masks][::2] == written[::2]
    label(config)
    assert 1 in np.load(masks[1])  # in spite of a file that was cut off


def test_a_killed_encode_goes_on_and_files_that_were_only_written_again_change_nothing(tmp_path: Path) -> None:
    write_cases(tmp_path / "prepared")
    config = autoencoder_config(tmp_path, steps=1)
    train_autoencoder(config)
    run, whole = Path(config["run"]), tmp_path / "whole"
    shutil.copytree(run, whole)
    run_until_killed(config, "encode", 3, "*.npz")
    latents = run / "latents"
    before = times(latents.glob("case_1_*.npz"))
    assert len(before) == 2 and not (latents / "index.json").exists() and not (latents / "case_2_1.npz").exists()
    encode(config)
    assert before == times(latents.glob("case_1_*.npz"))
    encode(config | {"run": str(whole)})
    assert same_files(latents, whole / "latents", "*.npz") and same_files(latents, whole / "latents", "index.json")
    written = times(latents.glob("*.npz"))
    for path in (tmp_path / "prepared").rglob("*.npy"):
        np.save(path, np.load(path))
    encode(config)
    assert written == times(latents.glob("*.npz"))
    cases = tmp_path / "prepared" / "cases.json"
    cases.write_text(cases.read_text().replace("4.0", "4.5"))
    os.utime(tmp_path / "prepared" / "case_1" / "ct.npy")
    encode(config)
    assert written["case_1_0.npz"] != times(latents.glob("*.npz"))["case_1_0.npz"]
