"""The network behind the decoder: by itself, slab by slab, and as a part of a model."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from SynthCTLib import refiner as module
from SynthCTLib.cards import read_card
from SynthCTLib.errors import Cancelled, ModelError
from SynthCTLib.job import Job
from SynthCTLib.networks import network_shapes
from SynthCTLib.pipeline import generate
from SynthCTLib.progress import Progress
from SynthCTLib.refiner import Refiner, refine
from SynthCTLib.store import ModelStore

ARGUMENTS = {"channels": 8, "blocks": 1, "label_channels": 2}
SHAPE = (40, 16, 12)


@pytest.fixture(scope="module")
def refiner() -> Refiner:
    """Random weights, strong enough to change every voxel."""
    torch.manual_seed(0)
    network = Refiner(**ARGUMENTS)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    return network.eval()


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(1).uniform(0.3, 0.7, SHAPE).astype(np.float32)


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.random.default_rng(2).choice([0, 1, 200], SHAPE).astype(np.uint8)


def test_without_training_it_gives_the_image_back(image: np.ndarray, labels: np.ndarray) -> None:
    np.testing.assert_array_equal(refine(Refiner(**ARGUMENTS), image, labels), image)


@pytest.mark.parametrize("planes", [2, 6, 16])
def test_slabs_of_any_thickness_give_what_the_whole_volume_gives(
    refiner: Refiner, image: np.ndarray, labels: np.ndarray, planes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = refine(refiner, image, labels)
    assert np.abs(whole - image).mean() > 0.01
    monkeypatch.setattr(module, "SLAB", planes)
    assert np.abs(refine(refiner, image, labels) - whole).max() < 1e-5


def test_a_voxel_depends_on_its_neighborhood_alone(refiner: Refiner, image: np.ndarray, labels: np.ndarray) -> None:
    other = labels.copy()
    other[20, 8, 6] = 26
    changed = np.argwhere(refine(refiner, image, labels) != refine(refiner, image, other))
    assert len(changed) > 1
    assert np.abs(changed - [20, 8, 6]).max() <= refiner.reach + module.FACTOR - 1


def test_cancelled_before_it_begins_it_computes_nothing(
    refiner: Refiner, image: np.ndarray, labels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Refiner, "forward", lambda *_: pytest.fail("a slab was computed"))
    with pytest.raises(Cancelled):
        refine(refiner, image, labels, progress=Progress(cancelled=lambda: True))


def test_progress_begins_at_0_and_ends_with_the_last_plane(
    refiner: Refiner, image: np.ndarray, labels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int, int]] = []
    monkeypatch.setattr(module, "SLAB", 16)
    refine(refiner, image, labels, Progress(lambda event: told.append((event.stage, event.step, event.of))))
    assert told == [("decode", n, 40) for n in (0, 16, 32, 40)]


def with_refiner(model: Path, folder: Path) -> Path:
    """The card of the same model with a refiner that makes label 1 brighter and leaves all else as it is."""
    shutil.copytree(model.parent, folder)
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    card["networks"]["refiner"] = {"arguments": ARGUMENTS}
    card["files"]["refiner"] = {"name": "refiner.safetensors", "sha256": None, "bytes": None, "source": None}
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    state = {key: torch.zeros(shape) for key, shape in network_shapes("refiner", ARGUMENTS).items()}
    state["labels.weight"][1, 0] = 1.0
    middle = (1, 1, 1)
    for part in range(8):  # channel 1 of 3 is the label's first number, each in eight parts
        state["enter.weight"][(part, 8 + part, *middle)] = 1.0
        state["leave.weight"][(part, part, *middle)] = 0.5
    save_file(state, folder / "refiner.safetensors")
    return folder / "card.json"


def test_a_model_with_a_refiner_paints_what_the_mask_tells(tiny_model: Path, phantom: Path, tmp_path: Path) -> None:
    job = Job(phantom, tmp_path / "plain", str(tiny_model), labels="maisi", seed=5, device="cpu")
    generate(job)
    generate(replace(job, out=tmp_path / "refined", model=str(with_refiner(tiny_model, tmp_path / "model"))))
    plain, refined, mask = (
        np.asarray(nib.load(tmp_path / name).dataobj, np.float32)
        for name in ("plain/ct.nii.gz", "refined/ct.nii.gz", "plain/mask.nii.gz")
    )
    np.testing.assert_array_equal(refined[mask != 1], plain[mask != 1])
    # SiLU(1) / 2 of the unit range of 2000 HU, and 1 HU for rounding; the phantom of random weights stays below.
    brighter = np.minimum(plain + 1000 * float(torch.nn.functional.silu(torch.tensor(1.0))), 1000)
    assert np.abs(refined - brighter)[mask == 1].max() <= 1


def test_a_refiner_that_is_missing_is_said(tiny_model: Path, tmp_path: Path) -> None:
    card = read_card(with_refiner(tiny_model, tmp_path / "model"))
    assert ModelStore().missing_parts(card) == []
    (tmp_path / "model" / "refiner.safetensors").unlink()
    assert ModelStore().missing_parts(card) == ["refiner"] and ModelStore().status(card) == "incomplete"


def test_a_card_that_names_a_network_without_its_file_or_cannot_be_refined_is_refused(
    tiny_model: Path, tmp_path: Path
) -> None:
    path = with_refiner(tiny_model, tmp_path / "model")
    card = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**card, "files": {k: v for k, v in card["files"].items() if k != "refiner"}}))
    with pytest.raises(ModelError, match="has no 'refiner' in its files"):
        read_card(path)
    path.write_text(json.dumps({**card, "latent": card["latent"] | {"downsampling": 1}}))
    with pytest.raises(ModelError, match="needs an even latent downsampling"):
        read_card(path)


def test_a_model_with_a_refiner_is_imported_like_any_other(tiny_model: Path, tmp_path: Path) -> None:
    path = with_refiner(tiny_model, tmp_path / "model")
    card = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**card, "id": "own", "embedded": False}))
    own, store = read_card(path), ModelStore(tmp_path / "store")
    store.import_files(own, sorted(path.parent.glob("*.safetensors")))
    assert store.status(own) == "ready" and store.verify(own) == []
    assert {file.name for file in store.folder(own).glob("*.safetensors")} == {
        f"{part}.safetensors" for part in own.parts
    }
