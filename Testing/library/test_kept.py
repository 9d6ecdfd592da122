"""What was expensive to make is kept while its key stays the same."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from SynthCTLib import pipeline
from SynthCTLib.errors import ModelError
from SynthCTLib.job import Job
from SynthCTLib.kept import Kept


def test_a_value_is_made_once_per_key_and_only_the_last_is_kept() -> None:
    kept, made = Kept(), list[str]()

    def make(name: str) -> str:
        made.append(name)
        return name

    for name in ("a", "a", "b", "b", "a"):
        assert kept.get(name, lambda name=name: make(name)) == name
    assert made == ["a", "b", "a"]


def test_a_model_is_loaded_once_until_one_of_its_files_changes(
    tiny_model: Path, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model.parent, folder)
    loaded, load = list[str](), pipeline.load_networks
    monkeypatch.setattr(pipeline, "load_networks", lambda card, *rest: loaded.append(card.id) or load(card, *rest))
    kept = Kept()

    def run() -> int:
        job = Job(phantom, tmp_path / "out", model=str(folder / "card.json"), labels="maisi", device="cpu", seed=1)
        pipeline.generate(job, kept=kept)
        return len(loaded)

    assert [run(), run()] == [1, 1]
    weights = folder / "unet.safetensors"
    os.utime(weights, (1, 1))
    assert [run(), run()] == [2, 2]
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    (folder / "card.json").write_text(json.dumps(card | {"title": "another"}), encoding="utf-8")
    assert run() == 3
    weights.unlink()
    with pytest.raises(ModelError, match="incomplete"):
        run()


def test_what_could_not_be_made_is_tried_again() -> None:
    kept = Kept()
    with pytest.raises(ValueError, match="no"):
        kept.get("a", lambda: (_ for _ in ()).throw(ValueError("no")))
    assert kept.get("a", lambda: 1) == 1
