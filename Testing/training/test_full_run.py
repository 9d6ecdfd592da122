"""All stages by their commands, from files on disk to a scorecard, in both families, on data and networks made tiny."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from SynthCTLib.cards import read_card
from SynthCTLib.cli import main as synthct
from SynthCTLib.store import ModelStore
from Testing.training.small_runs import chest_mask, small_config
from training.__main__ import main

SIZE = (40, 36, 44)
CASES = {"train": 3, "val": 4}


def write_source(folder: Path) -> None:
    """Labeled chests as a folder with a manifest; the arrays run toward the patient's left and back."""
    rows = []
    for number, split in enumerate(split for split, count in CASES.items() for _ in range(count)):
        case = f"case_{number}"
        labels = chest_mask(SIZE)[::-1, ::-1]
        typical = {0: -1000, 1: 70, 26: 20, 28: -850, 30: -850, 200: -40}
        hu = np.vectorize(typical.get)(labels) + np.random.default_rng(number).normal(0, 20, SIZE)
        (folder / "cases" / case).mkdir(parents=True)
        affine = np.diag([-4.0, -4.0, 5.0, 1.0])
        for name, array in (("ct", hu.astype(np.int16)), ("labels", labels)):
            nib.save(nib.Nifti1Image(array, affine), folder / "cases" / case / f"{name}.nii.gz")
        words = {"region": "chest;abdomen", "licence": "CC0", "citation": "made in a test", "collection": "test"}
        rows.append({"case_id": case, "split": split, "has_ct": "yes", "has_many_organ_labels": "no", **words})
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def tiny_config(folder: Path, family: str) -> dict[str, Any]:
    """Two steps per stage; the model is the user's own, not one that is part of SynthCT."""
    config = small_config(folder / family, family)
    config |= {
        "source": str(folder / "data"),
        "prepared": str(folder / "prepared"),
        "exclude": {},
        "sampling": {"other": 1},
    }
    config["label"]["atlas"] = {}
    config["encode"] |= {"versions": {"rich": 1, "other": 1}, "native": ["case"]}
    config["autoencoder"] |= {
        "start": "random", "steps": 2, "patch": 16, "batch": 1, "warmup": 1, "adversarial_from": 1, "val_every": 2,
        "val_patches": 1, "critic_layers": 1, "critic_channels": 4, "train_encoder": True,
    }  # fmt: skip
    tumor = {"label_weights": {"hepatic tumor": 10}, "contrast": {"weights": [[0, 0.01]], "labels": ["hepatic tumor"]}}
    config["controlnet"] |= {"train_unet": False, "lesion_crops": 0.5, **tumor}
    config["export"] |= {"folder": str(folder / family / "model")}
    config["export"]["card"] |= {"id": f"tiny-{family}", "embedded": False}
    config["evaluate"] |= {
        "name": "tiny", "out": str(folder / family / "scorecards"), "cases": {"other": 4}, "labeled": [], "slices": 2,
        "rounds": 2, "copy_encoder_steps": 1, "extractors": ["random-convolutions"],
        "steps": config["export"]["card"]["defaults"]["steps"],
    }  # fmt: skip
    return config


def stage(name: str, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path(config["run"]).parent / "config.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(config))
    monkeypatch.setattr(sys, "argv", ["training", name, "--config", str(file)])
    assert main() == 0, name


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stages that both families share: prepare, label, autoencoder, encode."""
    folder = tmp_path_factory.mktemp("full")
    write_source(folder / "data")
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("prepare", "label", "autoencoder", "encode"):
            stage(name, tiny_config(folder, "rflow"), monkeypatch)
    shutil.copytree(folder / "rflow" / "run", folder / "ddpm" / "run")
    return folder


@pytest.mark.parametrize("family", ["rflow", "ddpm"])
def test_a_folder_of_cts_becomes_a_model_and_its_scorecard(
    encoded: Path, family: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tiny_config(encoded, family)
    monkeypatch.setenv("SYNTHCT_MODELS", str(tmp_path / "models"))
    for name in ("diffusion", "controlnet", "export"):
        stage(name, config, monkeypatch)
    model = Path(config["export"]["folder"])
    card = read_card(model / "card.json")
    assert card.family == family and card.conditioning["body_region"] == (family == "ddpm")
    assert card.trained_on["labels"] == [1, 26, 28, 30, 200]
    files = [str(path) for path in model.glob("*.safetensors")]
    assert synthct(["models", "import", "--card", str(model / "card.json"), *files]) == 0
    assert ModelStore().verify(card) == []
    stage("evaluate", config, monkeypatch)
    scorecard = json.loads((Path(config["evaluate"]["out"]) / "tiny.json").read_text())
    assert scorecard["n"] == CASES["val"] and scorecard["model"] == card.id
    stage("card", config, monkeypatch)
    assert read_card(model / "card.json").quality["n"] == CASES["val"]
    started = json.loads((Path(config["run"]) / "stages" / "controlnet.json").read_text())
    assert started[-1]["config"]["export"]["card"]["family"] == family
