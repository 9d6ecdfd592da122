"""Stage *label* on MR, alone and beside CT: the body above the background, and the labels that were given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from SynthCTLib.errors import InputError
from SynthCTLib.volume import Volume
from Testing.training.dicom_files import write_series
from Testing.training.small_images import autoencoder_config
from Testing.training.test_prepare_sources import chest, save
from training.autoencoder import train_autoencoder
from training.encode import encode
from training.foreground import body_from_mr
from training.label import label
from training.prepare import prepare

pytestmark = pytest.mark.usefixtures("one_thread")
SHAPE = (60, 56, 40)
AFFINE = np.diag([3.0, 3.0, 4.0, 1.0])


def head(noise: float = 12, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """(float32 MR, bool body): muscle, bright fat under the skin, a dark skull and an air-filled hole, noise as Rice
    has it; ``scale``: of all values."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    radius = np.sqrt((x / 0.75) ** 2 + (y / 0.8) ** 2 + (z / 0.9) ** 2)
    clean = np.select([radius < 0.7, radius < 0.8, radius < 0.9, radius < 1], [150.0, 5.0, 120.0, 400.0], 0.0)
    clean[np.hypot(x, y + 0.3) + 0 * z < 0.1] *= 0.02
    rng = np.random.default_rng(0)
    image = np.hypot(clean + rng.normal(0, noise, SHAPE), rng.normal(0, noise, SHAPE)) if noise else clean
    return (scale * image).astype(np.float32), radius < 1


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.mark.parametrize(("noise", "scale"), [(0, 1), (12, 1), (12, 30), (12, 0.001)])
def test_the_body_is_what_is_brighter_than_the_background_at_any_scale(noise: float, scale: float) -> None:
    image, body = head(noise, scale)
    assert overlap(body_from_mr(Volume(image, AFFINE)), body) > 0.96


def test_an_image_without_background_is_all_body() -> None:
    image = head()[0][22:38, 26:36, 14:26]
    assert body_from_mr(Volume(image, AFFINE)).mean() > 0.98


def mixed(tmp_path: Path, modality: str) -> dict[str, Any]:
    """An autoencoder's config for an MR with a label and two CTs, prepared."""
    image, _ = head()
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[30:36, 25:30, 15:20] = 22
    save(tmp_path / "mr" / "anna.nii.gz", image)
    save(tmp_path / "mr" / "anna_labels.nii.gz", drawn)
    for seed in (0, 1):
        save(tmp_path / "ct" / f"ct{seed}.nii.gz", chest(seed=seed))
    sources = [
        {"path": str(tmp_path / "mr"), "kind": "images", "modality": modality, "scheme": "maisi"},
        {"path": str(tmp_path / "ct"), "kind": "images"},
    ]
    config = autoencoder_config(tmp_path, steps=1)
    config |= {"sources": sources, "split": {"train": 2, "val": 1, "seed": 1}, "exclude": {}, "label": {"atlas": {}}}
    prepare(config)
    return config


def test_mr_of_a_class_is_labeled_beside_ct_and_encoded(tmp_path: Path) -> None:
    config = mixed(tmp_path, "MRI_T1")
    label(config)
    mask = np.load(tmp_path / "prepared" / "anna" / "mask.npy")
    assert (mask[30:36, 25:30, 15:20] == 22).all() and overlap(mask > 0, head()[1]) > 0.96
    assert set(np.unique(mask)) == {0, 22, 200} and (tmp_path / "prepared" / "ct1" / "mask.npy").is_file()
    train_autoencoder(config)
    encode(config)
    index = json.loads((tmp_path / "run" / "latents" / "index.json").read_text())
    assert {entry["case_id"]: entry["modality"] for entry in index["latents"]} == {
        "anna": "mri_t1", "ct0": "ct", "ct1": "ct",
    }  # fmt: skip


def test_an_atlas_for_mr_and_an_unknown_modality_are_refused(tmp_path: Path) -> None:
    config = mixed(tmp_path, "mr")
    with pytest.raises(InputError, match="anna is MR, and labels are carried over to CT only"):
        label(config | {"label": {"atlas": {"anna": "ct0"}}})
    with pytest.raises(InputError, match=r"no modality 'mri_t3' here; use one of ct, ct_wo_contrast, .*mri_t1"):
        mixed(tmp_path, "mri_t3")


def test_dicom_of_a_class_is_found_by_its_family(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "mr", np.clip(chest() + 1000, 0, None), modality="MR")
    write_series(tmp_path / "in" / "ct", chest())
    data = {"kind": "dicom", "modality": "mri_t2"}
    prepare({"source": str(tmp_path / "in"), "data": data, "prepared": str(tmp_path / "out"), "split": {"train": 1}})
    [case] = json.loads((tmp_path / "out" / "cases.json").read_text())["cases"]
    assert case["modality"] == "mri_t2" and (tmp_path / "out" / case["case_id"] / "mr.npy").is_file()
