"""Training stages on small data made here: they run, resume where they stopped, and learn."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from training.config import load_config
from training.files import load_checkpoint, save_checkpoint
from training.linear_start import block_components, linear_start
from training.prepare import prepare, read_cases

CONFIG = Path(__file__).parents[2] / "training" / "configs" / "embedded.json"
CHANNELS = load_config(CONFIG, [])["network"]["autoencoder"]["latent_channels"]


def smooth_volume(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """A head-like ball of tissue with structure, in HU."""
    rng = np.random.default_rng(seed)
    grids = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    radius = np.sqrt(sum(g**2 for g in grids))
    hu = np.where(radius < 0.8, 40 + 200 * np.sin(5 * grids[0] + rng.uniform(0, 3)) * (grids[1] > 0), -1000)
    return hu.astype(np.int16)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two usable cases, one without an image and one excluded, as NIfTI in LPS order."""
    folder = tmp_path / "data"
    rows = []
    for case, split, has_ct in (
        ("a_1", "train", "yes"),
        ("b_1", "val", "yes"),
        ("c_1", "train", "no"),
        ("d_1", "train", "yes"),
    ):
        rows.append(
            {
                "case_id": case,
                "split": split,
                "has_ct": has_ct,
                "region": "chest",
                "licence": "CC0",
                "citation": "made in a test",
                "collection": "test",
                "has_many_organ_labels": "no",
            }
        )
        if has_ct == "yes":
            (folder / "cases" / case).mkdir(parents=True)
            image = nib.Nifti1Image(smooth_volume((48, 40, 32), len(rows)), np.diag([-2.0, -3.0, 4.0, 1.0]))
            nib.save(image, folder / "cases" / case / "ct.nii.gz")
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture
def config(source: Path, tmp_path: Path) -> dict:
    return {
        "source": str(source),
        "prepared": str(tmp_path / "prepared"),
        "run": str(tmp_path / "run"),
        "splits": ["train", "val"],
        "exclude": {"d_1": "shows a face"},
    }


def test_prepare_turns_cases_to_ras_and_says_why_others_are_left_out(config: dict, source: Path) -> None:
    prepare(config)
    listed = json.loads((Path(config["prepared"]) / "cases.json").read_text())
    assert {c["case_id"]: c["reason"] for c in listed["left_out"]} == {"c_1": "no CT image", "d_1": "shows a face"}
    [case] = read_cases(config["prepared"], "train")
    assert case["spacing"] == [2.0, 3.0, 4.0] and case["licence"] == "CC0"
    stored = nib.load(source / "cases" / "a_1" / "ct.nii.gz").get_fdata()
    assert np.array_equal(np.load(Path(config["prepared"]) / "a_1" / "ct.npy"), stored[::-1, ::-1])


def test_an_override_changes_a_key_and_a_wrong_one_is_named() -> None:
    assert load_config(CONFIG, ["autoencoder.steps=7"])["autoencoder"]["steps"] == 7
    with pytest.raises(ValueError, match=r"no key 'autoencoder\.stepz'"):
        load_config(CONFIG, ["autoencoder.stepz=7"])


def test_a_checkpoint_is_complete_or_absent_and_reads_without_pickle(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "none.pt") is None
    save_checkpoint(tmp_path / "x.pt", {"step": 3, "model": {"w": torch.ones(2)}})
    loaded = load_checkpoint(tmp_path / "x.pt")
    assert loaded is not None and loaded["step"] == 3
    assert [p.name for p in tmp_path.iterdir()] == ["x.pt"]


def test_the_linear_start_reconstructs_far_better_than_a_random_one() -> None:
    from SynthCTLib.networks import build_autoencoder
    from training.intensities import hu_to_unit

    arguments = load_config(CONFIG, [])["network"]["autoencoder"]
    torch.manual_seed(0)
    volume = torch.from_numpy(smooth_volume((32, 32, 32), 1).astype(np.float32))
    patches = hu_to_unit(volume)[None, None]
    errors = {}
    with torch.no_grad():
        for name in ("random", "linear"):
            model = build_autoencoder(arguments).eval()
            if name == "linear":
                linear_start(model, patches)
            mu, _ = model.encode(patches)
            errors[name] = (model.decode(mu) - patches).abs().mean().item()
        weights, offsets = block_components(patches, CHANNELS)
        blocks = patches[0, 0].unfold(0, 4, 4).unfold(1, 4, 4).unfold(2, 4, 4)
        expected = torch.einsum("xyzijk,cijk->cxyz", blocks, weights) + offsets[:, None, None, None]
    assert errors["linear"] < 0.03 and errors["random"] > 0.1
    correlation = np.corrcoef(mu[0, 0].ravel().numpy(), expected[0].ravel().numpy())[0, 1]
    assert correlation > 0.98  # the first latent channel is the first principal component


def test_the_autoencoder_stage_stops_resumes_and_gets_better(config: dict, tmp_path: Path) -> None:
    from training.autoencoder import train_autoencoder

    prepare(config)
    base = load_config(CONFIG, [])
    small = {
        **base["autoencoder"],
        "patch": 16,
        "batch": 1,
        "warmup": 1,
        "adversarial_from": 3,
        "val_every": 10,
        "val_patches": 2,
        "critic_layers": 1,
        "critic_channels": 4,
        "train_encoder": True,
    }
    config |= {
        "seed": 1,
        "accelerator": "cpu",
        "devices": 1,
        "precision": "32-true",
        "network": base["network"],
        "sampling": {"other": 1.0},
    }
    train_autoencoder(config | {"autoencoder": {**small, "steps": 2}})
    first = load_checkpoint(tmp_path / "run" / "autoencoder.pt")
    train_autoencoder(config | {"autoencoder": {**small, "steps": 5}})  # crosses into the adversarial part
    second = load_checkpoint(tmp_path / "run" / "autoencoder.pt")
    assert first is not None and second is not None
    assert (first["step"], second["step"]) == (2, 5)
    assert second["ema"]["updates"] == 5
    encoder = [k for k in first["model"] if k.startswith("encoder") and k.endswith("weight")]
    assert any(not torch.equal(first["model"][k], second["model"][k]) for k in encoder)
