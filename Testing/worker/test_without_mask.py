"""A model of the Medical Diffusion family in the product: imported, sampled without a mask, reported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from SynthCTLib.cards import load_card
from SynthCTLib.cli import main
from SynthCTLib.output import DISCLAIMER
from SynthCTLib.store import ModelStore
from Testing.library.maskless_samples import MR, write_exported


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A folder as the stage *md-export* leaves it, with random weights."""
    write_exported(tmp_path / "exported")
    return tmp_path / "exported"


@pytest.fixture
def imported(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Id of the model, imported by the command into an empty store."""
    monkeypatch.setenv("SYNTHCT_MODELS", str(tmp_path / "store"))
    files = [str(exported / f"{part}.safetensors") for part in ("vqgan", "denoiser")]
    assert main(["models", "import", "--card", str(exported / "card.json"), *files]) == 0
    return "tiny-volumes"


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main([*arguments, "--json"]) == 2
    return json.loads(capsys.readouterr().out.splitlines()[-1])["message"]


def test_an_imported_model_is_known_by_its_id_and_leaves_nothing_when_removed(
    imported: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ModelStore()
    for command in (["models", "list"], ["models", "show", imported], ["doctor"]):
        capsys.readouterr()
        assert main(command) == 0
        assert imported in capsys.readouterr().out
    card = load_card(imported, store)
    assert store.status(card) == "ready" and not card.takes_mask and card.parts == ("vqgan", "denoiser")
    assert store.verify(card) == []
    assert main(["models", "remove", imported]) == 0
    assert not (store.root / imported).exists()


def test_generate_samples_as_many_volumes_as_asked_without_a_mask(imported: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["generate", "--model", imported, "--out", str(out), "--count", "2", "--seed", "4"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["001", "002"]
    arrays = []
    for number in ("001", "002"):
        assert {p.name for p in (out / number).iterdir()} == {"ct.nii.gz", "report.json", "preview.png"}
        image = nib.load(out / number / "ct.nii.gz")
        arrays.append(np.asarray(image.dataobj))
        assert arrays[-1].shape == (8, 16, 24) and arrays[-1].dtype == np.int16
        assert -1000 <= arrays[-1].min() < arrays[-1].max() <= 1000
        np.testing.assert_allclose(image.affine, [[5, 0, 0, -17.5], [0, 2, 0, -15], [0, 0, 3, -34.5], [0, 0, 0, 1]])
        assert image.header["descrip"].tobytes().decode().startswith(DISCLAIMER)
    assert not np.array_equal(*arrays)


def test_the_same_seed_gives_the_same_volume_and_the_report_says_how_it_was_made(imported: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert main(["generate", "--model", imported, "--out", str(tmp_path / name), "--seed", "9"]) == 0
    one, other = (np.asarray(nib.load(tmp_path / name / "ct.nii.gz").dataobj) for name in ("a", "b"))
    assert np.array_equal(one, other)
    report = json.loads((tmp_path / "a" / "report.json").read_text(encoding="utf-8"))
    assert report["disclaimer"] == DISCLAIMER and report["seed"] == 9 and report["job"]["mask"] is None
    assert report["region"] == ["head"] and report["modality"] == "ct"
    assert report["settings"]["solver"] == "ddim" and report["settings"]["steps"] == 3
    assert set(report["model"]["sha256"]) == {"vqgan", "denoiser"} and None not in report["model"]["sha256"].values()
    comment: Any = nib.load(tmp_path / "a" / "ct.nii.gz").header.extensions[0].get_content()
    provenance = json.loads(comment if isinstance(comment, str) else comment.decode())
    assert provenance["disclaimer"] == DISCLAIMER and provenance["model"]["id"] == imported


def test_a_mask_and_what_belongs_to_one_is_refused_for_a_model_that_takes_none(
    imported: str, phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["generate", "--model", imported, "--out", str(tmp_path / "out")]
    assert "takes no segmentation; leave out: mask." in error_of([*base[:1], str(phantom), *base[1:]], capsys)
    options = ["--region", "chest", "--size", "8x8x8", "--retries", "2", "--guidance", "1"]
    assert "leave out: region, size, retries, guidance." in error_of([*base, *options], capsys)
    assert not (tmp_path / "out").exists()


def test_a_model_that_paints_a_mask_asks_for_one(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = error_of(["generate", "--model", str(tiny_model), "--out", str(tmp_path / "out")], capsys)
    assert "paints a segmentation: give one as MASK" in message


def test_prepare_says_that_there_is_no_mask_to_prepare(
    imported: str, phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = error_of(["prepare", str(phantom), "--model", imported, "--out", str(tmp_path / "out")], capsys)
    assert "none to prepare" in message


def test_the_worker_runs_a_job_without_a_mask(imported: str, tmp_path: Path) -> None:
    job = {"schema": 1, "out": "result", "model": imported, "seed": 2, "device": "cpu"}
    (tmp_path / "job.json").write_text(json.dumps(job), encoding="utf-8")
    command = [sys.executable, "-m", "SynthCTLib.worker", str(tmp_path / "job.json")]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and events[-1]["event"] == "result", done.stderr
    assert events[-1]["results"][0]["ct"] == str(tmp_path / "result" / "ct.nii.gz")
    assert "denoise" in {event["stage"] for event in events if event["event"] == "progress"}


def test_a_model_of_mr_writes_mr_and_not_ct(imported: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = ModelStore().root / imported / "card.json"
    card = json.loads(path.read_text(encoding="utf-8")) | MR
    path.write_text(json.dumps(card), encoding="utf-8")
    assert main(["generate", "--model", imported, "--out", str(tmp_path / "out"), "--seed", "1"]) == 0
    assert "MR of head" in capsys.readouterr().out
    image = np.asarray(nib.load(tmp_path / "out" / "mr.nii.gz").dataobj)
    assert image.min() >= 0 and image.max() <= 800 and not (tmp_path / "out" / "ct.nii.gz").exists()


def test_a_card_with_the_networks_of_the_other_family_is_refused(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = exported / "card.json"
    path.write_text(path.read_text(encoding="utf-8").replace("medical-diffusion", "rflow"), encoding="utf-8")
    assert main(["models", "show", str(path), "--json"]) != 0
    assert "is not valid at" in capsys.readouterr().out
