"""The stage *evaluate* on small data made here: every kind of subject gets a complete scorecard, copies are found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from SynthCTLib.errors import InputError
from training.config import load_config
from training.evaluate import evaluate
from training.export import quality_of
from training.files import write_json
from training.metrics.contrastive import train_encoder
from training.metrics.extractors import build_extractors
from training.metrics.memorization import CopyFilter, as_input, disguise, for_calibration, memorization
from training.metrics.radimagenet import RadImageNet, ResNet50, maisi_cube, maisi_slices
from training.reader_form import CATEGORIES, reader_form
from training.scan_files import write_scans
from training.scans import Scan, choose_cases, real_scan

CONFIG = Path(__file__).parents[2] / "training" / "configs" / "embedded.json"


def patient(seed: int, shape: tuple[int, int, int] = (40, 36, 30)) -> tuple[np.ndarray, np.ndarray]:
    """(HU int16, mask uint8): an oval body with lung, liver, bone and texture of its own."""
    rng = np.random.default_rng(seed)
    grids = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")

    def ball(size: float, *center: float) -> np.ndarray:
        moved = np.array(center) + rng.normal(0, 0.07, 3)
        return sum(((g - c) / (size * rng.uniform(0.85, 1.15))) ** 2 for g, c in zip(grids, moved, strict=True)) < 1

    mask = np.zeros(shape, np.uint8)
    mask[ball(0.9, 0, 0, 0)] = 200
    for label, size, center in ((28, 0.35, (0.4, 0, 0.3)), (1, 0.4, (-0.4, 0, 0)), (33, 0.3, (0, -0.5, 0))):
        mask[ball(size, *center) & (mask > 0)] = label
    hu = np.choose(np.searchsorted([0, 1, 28, 33, 200], mask), [-1000, 60, -800, 400, -20]).astype(np.float32)
    hu += (mask > 0) * 150 * ndimage.gaussian_filter(rng.normal(size=shape), 1.5) / 0.15
    return np.clip(hu, -1000, 1000).astype(np.int16), mask


@pytest.fixture
def config(tmp_path: Path) -> dict:
    """Six training and four held-out patients, prepared."""
    cases = []
    for number in range(10):
        hu, mask = patient(number)
        split = "train" if number < 6 else "val"
        meta = {"case_id": f"case_{number}", "split": split, "group": "a", "spacing": [4.0, 4.0, 5.0]}
        cases.append(meta)
        folder = tmp_path / "prepared" / meta["case_id"]
        folder.mkdir(parents=True)
        np.save(folder / "ct.npy", hu)
        np.save(folder / "mask.npy", mask)
    write_json(tmp_path / "prepared" / "cases.json", {"cases": cases, "left_out": []})
    config = load_config(CONFIG, [])
    config |= {"prepared": str(tmp_path / "prepared"), "run": str(tmp_path / "run")}
    config["evaluate"] |= {
        "subject": "painter", "name": "tiny", "out": str(tmp_path / "scorecards"), "cases": {"a": 4},
        "labeled": ["case_1"], "slices": 3, "rounds": 3, "copy_encoder_steps": 1, "extractors": ["random-convolutions"],
    }  # fmt: skip
    return config


def scorecard(config: dict) -> dict:
    evaluate(config)
    path = Path(config["evaluate"]["out"]) / f"{config['evaluate']['name']}.json"
    return json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_a_subject_gets_a_complete_scorecard_a_page_and_a_form_and_is_made_only_once(config: dict) -> None:
    card = scorecard(config)
    for plane in ("axial", "coronal", "sagittal", "mean"):
        found = card["frechet"]["random-convolutions"][plane]
        assert found["ratio"] == pytest.approx(found["value"] / found["floor"])
    assert set(card["following"]) == {"lung", "bone", "body"}
    assert all({"value", "real", "share"} <= set(found) for found in card["following"].values())
    assert 0 <= card["organ_hu_in_range"]["value"] <= 1 and card["n"] == 4
    assert {"copies", "control", "positive_control"} <= set(card["memorization"])
    assert set(card["spread"]["random-convolutions"]) == {"precision", "recall", "coverage"}
    assert card["frechet_3d"]["random-convolutions-3d"]["ratio"] > 0
    assert set(card["volumes_ml"]) == {"body", "bone", "air in the body"}
    assert len(card["data"]) == 64 and card["commit"] and card["command"].startswith("python -m training")
    assert card["cost"]["seconds"]["n"] == 4 and card["cost"]["peak_memory_mb"] > 10
    assert [case["case_id"] for case in card["labeled_training_cases"]] == ["case_1"]
    pages = Path(config["run"]) / "scorecards"
    page = (pages / "tiny.html").read_text()
    assert page.count("data:image/png;base64,") == 4 and "http" not in page
    assert set(json.loads((pages / "tiny-reader-key.json").read_text())) == {str(n) for n in range(1, 9)}
    made = list((Path(config["run"]) / "synthetic" / "painter").iterdir())
    times = {path: path.stat().st_mtime_ns for path in made}
    again = scorecard(config)
    assert {path: path.stat().st_mtime_ns for path in made} == times
    assert again | {"commit": card["commit"]} == card  # others may commit meanwhile


def test_real_cts_in_a_folder_are_as_good_as_real_ones_and_kept_ones_are_no_copies(
    config: dict, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    config["evaluate"]["keep"] = str(kept)
    painted = scorecard(config)
    written = sorted(path.name for path in kept.glob("*.nii.gz"))
    assert len(written) == round(4 * (1 - painted["memorization"]["copies"]))
    folder = tmp_path / "other"
    scans = [real_scan(config, meta) for meta in choose_cases(config, "val")]
    write_scans(folder, [replace(scan, mask=None) for scan in scans])
    config["evaluate"] |= {"subject": str(folder), "keep": ""}
    write_scans(folder, [Scan("case_6", scans[0].hu[:40], None, scans[0].spacing)])
    with pytest.raises(InputError, match=r"case_6.* has \(40, .* write the CT on the grid of the mask"):
        evaluate(config)
    write_scans(folder, [replace(scans[0], mask=None)])
    real = scorecard(config)
    assert real["frechet"]["random-convolutions"]["mean"]["ratio"] == pytest.approx(1)
    assert all(found["share"] == pytest.approx(1) for found in real["following"].values())
    assert real["spectrum"]["gap"] == pytest.approx(0, abs=1e-6)
    assert real["frechet_3d"]["random-convolutions-3d"]["ratio"] == pytest.approx(1)
    assert all(found["value"] == pytest.approx(0, abs=1e-6) for found in real["volumes_ml"].values())
    assert painted["frechet"]["random-convolutions"]["mean"]["ratio"] > 1.1
    for path in folder.glob("*.nii.gz"):
        path.rename(path.with_name("x" + path.name))  # of no known case: a generator without masks
    unconditional = scorecard(config)
    assert "following" not in unconditional and "memorization" in unconditional


def test_the_card_of_a_model_takes_its_quality_from_its_scorecard(config: dict, tiny_model: Path) -> None:
    config["export"]["folder"] = str(tiny_model.parent)
    config["evaluate"] |= {"subject": "model", "steps": 1, "labeled": []}
    card = scorecard(config)
    assert json.loads((Path(config["run"]) / "evaluation.json").read_text()) == card
    settings = {"steps": 1, "solver": "euler", "temperature": 1.0}
    quality = quality_of(Path(config["run"]), {p: {"sha256": None} for p in card["files"]}, settings)
    assert quality["following"] == card["following"] and quality["n"] == 4
    assert quality["frechet"]["random-convolutions"]["mean"]["ratio"] > 1  # random weights make no CT


def test_an_unknown_feature_network_is_named() -> None:
    with pytest.raises(InputError, match="no feature network 'inception'; choose from efficientnet-lite0, random"):
        build_extractors(["inception"], 1, {"file": ""})


def test_an_unknown_subject_is_named(config: dict) -> None:
    config["evaluate"]["subject"] = "nothing"
    with pytest.raises(InputError, match="'nothing' is neither model, painter"):
        evaluate(config)


def test_copies_of_training_cases_are_found_although_turned_mirrored_and_noisy() -> None:
    hus = [patient(seed)[0] for seed in range(24)]
    training, held_out = hus[:16], hus[16:]
    seen, unseen = as_input(training), for_calibration(16, 0)
    known = CopyFilter(train_encoder(seen[torch.from_numpy(~unseen)], 30, 0), seen, unseen)
    rng = np.random.default_rng(1)
    disguised = as_input(disguise(hu, rng) for hu in training)
    assert known.copies(disguised).mean() > 0.8
    assert known.copies(seen).all()
    found = memorization(known, as_input(held_out), as_input(held_out), disguised)
    assert found["copies"] == found["control"] < 0.4  # held-out patients are no copies
    assert found["n_calibration"] == 3 and found["calibration_control"] <= 1 / 3


def test_no_patient_is_a_copy_of_himself_in_calibration() -> None:
    seen = as_input(patient(seed)[0] for seed in range(6))
    alike = torch.cat([seen[:1], seen])  # the first one twice
    unseen = np.array([True, False, False, False, True, False, False])
    known = CopyFilter(train_encoder(seen, 1, 0), alike, unseen)
    assert known.calibration[0] == pytest.approx(1, abs=1e-5)
    assert known.calibration[1] < 1 - 1e-5


def test_the_reader_form_does_not_tell_which_is_which_and_the_key_does() -> None:
    real, made = ([Scan(f"{kind}_{i}", patient(i)[0], None, (4.0, 4.0, 5.0)) for i in range(3)] for kind in "rm")
    page, key = reader_form(real, made, 3, seed=4)
    assert sorted(entry["kind"] for entry in key.values()) == ["made"] * 3 + ["real"] * 3
    assert not any(entry["name"] in page for entry in key.values())
    assert page.count("<fieldset>") == 6 * len(CATEGORIES) and page.count('value="D"') == 6 * len(CATEGORIES)
    assert reader_form(real, made, 3, seed=5)[1] != key
    assert "recognizable as CT" in page and "{noun}" not in page


def test_radimagenet_weights_are_read_without_pickle_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "radimagenet.pt"
    torch.manual_seed(0)
    torch.save(ResNet50().state_dict(), path)
    extractor = RadImageNet(path, "", maisi_exact=False, slices=1)
    features = extractor(patient(0)[0], (4.0, 4.0, 5.0))
    assert {plane: found.shape for plane, found in features.items()} == dict.fromkeys(features, (1, 2048))
    with pytest.raises(InputError, match="download it again"):
        RadImageNet(path, "0" * 64, maisi_exact=False, slices=1)
    torch.save({"weights": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="does not hold the weights"):
        RadImageNet(path, "", maisi_exact=False, slices=1)


def test_the_protocol_of_maisi_centers_pads_and_takes_205_slices_per_plane() -> None:
    hu = np.full((100, 50, 20), 2000, np.int16)
    cube = maisi_cube(hu, (2.0, 2.0, 40.0))
    assert cube.shape == (512, 512, 512) and cube.max() == 1000 and cube[0, 0, 0] == -1000
    inside = [np.flatnonzero((cube > 0).any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    assert [len(found) for found in inside] == [199, 99, 512]
    assert [int(found[0]) for found in inside] == [156, 206, 0]
    pictures = maisi_slices(cube, 1)
    assert pictures.shape == (205, 512, 512) and pictures.min() == 0 and pictures.max() == 1
