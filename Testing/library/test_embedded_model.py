"""The model that comes with SynthCT: small, whole, honest about itself, and good enough for a first CT."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from SynthCTLib.cards import load_card
from SynthCTLib.cases import demo_case
from SynthCTLib.job import DEFAULT_MODEL, Job
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.pipeline import generate
from SynthCTLib.resources import resource_path
from SynthCTLib.store import ModelStore

pytestmark = pytest.mark.skipif(
    not any(resource_path("models", DEFAULT_MODEL).glob("*.safetensors")),
    reason=f"the weights of {DEFAULT_MODEL} are not in this checkout",
)
LIMIT = 40_000_000


def test_it_is_whole_and_at_most_40_megabytes(tmp_path: Path) -> None:
    card, store = load_card(DEFAULT_MODEL), ModelStore(tmp_path)
    assert card.embedded and store.status(card) == "ready" and store.verify(card) == []
    assert all(store.hashes(card)[part] for part in card.parts)
    assert sum(path.stat().st_size for path in store.folder(card).iterdir()) <= LIMIT


def test_its_card_says_what_it_was_trained_on_and_how_good_it_is() -> None:
    card = load_card(DEFAULT_MODEL)
    assert card.sources and all(source["licence"] and source["citation"] for source in card.sources)
    assert not any("NC" in source["licence"].upper().split() for source in card.sources)
    assert card.training and card.quality and card.intended_use and card.excluded_use
    assert card.quality["following"]["bone"]["share"] > 0.85
    assert all(found["mean"]["ratio"] < 1.5 for found in card.quality["frechet"].values())
    assert card.quality["memorization"]["copies"] <= card.quality["memorization"]["control"]


def test_a_real_label_map_that_it_has_never_seen_becomes_a_plausible_ct(tmp_path: Path) -> None:
    case = demo_case()
    generate(Job(case.path, tmp_path / "out", labels=case.labels, seed=1, device="cpu"))
    hu, labels = (np.asarray(nib.load(tmp_path / "out" / f"{name}.nii.gz").dataobj) for name in ("ct", "mask"))
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    groups = {name: np.isin(labels, load_vocabulary().group_ids(name)) for name in ("lung", "bone", "liver")}
    lung, bone, liver = (np.median(hu[voxels]) for voxels in groups.values())
    assert lung < -500 and -20 < liver < 200 and bone > liver
    assert report["score"] >= 0.6
