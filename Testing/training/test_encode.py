"""The stage *encode*: what it stores, what it does not do twice, and the one scale factor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from SynthCTLib.errors import InputError
from SynthCTLib.model_files import read_json
from Testing.training.small_images import autoencoder_config, write_cases
from training.autoencoder import train_autoencoder
from training.autoencoder_start import trained_autoencoder
from training.encode import Encoder, encode
from training.files import write_json
from training.intensities import hu_to_unit
from training.latents import read_latents
from training.scale_factor import scale_factor_of


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """A run folder with an autoencoder of one step."""
    write_cases(tmp_path / "prepared")
    config = autoencoder_config(tmp_path, steps=1)
    train_autoencoder(config)
    return config


def index_of(config: dict[str, Any]) -> dict[str, Any]:
    return read_json(Path(config["run"]) / "latents" / "index.json")


def test_the_mean_is_stored_with_the_mask_and_one_factor_for_all_training_latents(config: dict[str, Any]) -> None:
    config["encode"]["native"] = ["own"]
    encode(config)
    index = index_of(config)
    assert [(e["case_id"], e["split"]) for e in index["latents"]] == [
        ("case_1", "train"), ("case_1", "train"), ("case_2", "train"), ("case_2", "train"), ("case_0", "val"),
    ]  # fmt: skip
    folder = Path(config["run"]) / "latents"
    held_out = np.load(folder / "case_0_0.npz")
    values = np.load(Path(config["prepared"]) / "case_0" / "ct.npy").astype(np.float32)
    padded = np.full(held_out["mask"].shape, -1000, np.float32)
    padded[4:44, 4:40, :32] = values
    assert np.array_equal(held_out["mask"] > 0, padded > -1000) and held_out["spacing"].tolist() == [3, 3, 4]
    model, _ = trained_autoencoder(Path(config["run"]), config["network"]["autoencoder"])
    with torch.no_grad():
        mean, _ = model.encode(hu_to_unit(torch.from_numpy(padded))[None, None])
    assert np.allclose(held_out["latent"], mean[0].numpy(), atol=2e-3)
    training = [np.load(folder / e["file"])["latent"].astype(float).ravel() for e in index["latents"][:4]]
    assert index["scale_factor"] == pytest.approx(1 / np.concatenate(training).std(), rel=1e-3)


def test_a_volume_encoded_in_tiles_is_what_it_is_in_one_piece(config: dict[str, Any], tmp_path: Path) -> None:
    encode(config)
    config["encode"]["memory_mb"] = 1
    encode(config | {"run": str(_copy_of_autoencoder(config, tmp_path / "tiles"))})
    for path in (Path(config["run"]) / "latents").glob("*.npz"):
        whole, tiles = np.load(path), np.load(tmp_path / "tiles" / "latents" / path.name)
        assert np.allclose(whole["latent"], tiles["latent"], atol=2e-3) and np.array_equal(whole["mask"], tiles["mask"])


def _copy_of_autoencoder(config: dict[str, Any], run: Path) -> Path:
    run.mkdir()
    (run / "autoencoder.pt").write_bytes((Path(config["run"]) / "autoencoder.pt").read_bytes())
    return run


def test_an_interrupted_run_goes_on_with_the_next_case_to_the_same_latents(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode(config | {"run": str(_copy_of_autoencoder(config, tmp_path / "whole"))})
    encoded: list[str] = []
    original = Encoder._encode

    def watched(self: Encoder, meta: dict[str, Any]) -> dict[str, Any]:
        if len(encoded) == 1:
            raise KeyboardInterrupt
        encoded.append(meta["case_id"])
        return original(self, meta)

    monkeypatch.setattr(Encoder, "_encode", watched)
    with pytest.raises(KeyboardInterrupt):
        encode(config)
    assert index_of(config) == {}
    monkeypatch.setattr(Encoder, "_encode", lambda *a: (encoded.append(a[1]["case_id"]), original(*a))[1])
    encode(config)
    encode(config)
    assert encoded == ["case_1", "case_2", "case_0"]  # each once
    assert index_of(config) == read_json(tmp_path / "whole" / "latents" / "index.json")
    for path in (tmp_path / "whole" / "latents").glob("*.npz"):
        assert np.array_equal(np.load(path)["latent"], np.load(Path(config["run"]) / "latents" / path.name)["latent"])


def test_a_case_whose_image_has_changed_is_encoded_again(config: dict[str, Any]) -> None:
    encode(config)
    path = Path(config["prepared"]) / "case_0" / "ct.npy"
    before = np.load(Path(config["run"]) / "latents" / "case_0_0.npz")["latent"]
    np.save(path, np.load(path) // 2)
    encode(config)
    assert not np.array_equal(before, np.load(Path(config["run"]) / "latents" / "case_0_0.npz")["latent"])


def test_a_case_that_is_added_in_front_changes_no_other(config: dict[str, Any], tmp_path: Path) -> None:
    path, folder = Path(config["prepared"]) / "cases.json", Path(config["run"]) / "latents"
    cases = read_json(path)
    write_json(path, cases | {"cases": [meta for meta in cases["cases"] if meta["case_id"] != "case_1"]})
    encode(config)
    kept = {file: file.stat().st_mtime_ns for file in folder.glob("case_[02]_*.npz")}
    write_json(path, cases)
    encode(config)
    assert index_of(config)["latents"][0]["case_id"] == "case_1"
    assert len(kept) == 3 and kept == {file: file.stat().st_mtime_ns for file in kept}
    encode(config | {"run": str(_copy_of_autoencoder(config, tmp_path / "at once"))})
    for file in kept:
        assert np.array_equal(np.load(file)["mask"], np.load(tmp_path / "at once" / "latents" / file.name)["mask"])


def test_latents_of_another_autoencoder_and_a_broken_off_second_encoding_are_refused(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    encode(config)
    run, factor = Path(config["run"]), index_of(config)["scale_factor"]
    latent_channels = config["network"]["autoencoder"]["latent_channels"]

    def read() -> int:
        return len(read_latents(run, Path(config["prepared"]), "train", latent_channels).entries)

    assert read() == 4
    config["autoencoder"]["steps"] = 2
    train_autoencoder(config)
    with pytest.raises(InputError, match="are of another autoencoder than"):
        read()
    original = Encoder._encode
    with monkeypatch.context() as broken_off:
        calls = iter([original])
        broken_off.setattr(Encoder, "_encode", lambda *a: next(calls)(*a))
        with pytest.raises(StopIteration):
            encode(config)
    assert index_of(config)["scale_factor"] == factor
    with pytest.raises(InputError, match="are not complete: run the stage 'encode' to its end"):
        read()
    encode(config)
    assert read() == 4


def test_the_scale_factor_stays_when_cases_come_and_is_taken_over_when_fine_tuning(
    config: dict[str, Any], tmp_path: Path
) -> None:
    encode(config)
    first = index_of(config)["scale_factor"]
    cases = read_json(Path(config["prepared"]) / "cases.json")
    cases["cases"][1]["split"] = "val"
    write_json(Path(config["prepared"]) / "cases.json", cases)
    encode(config)
    assert index_of(config)["scale_factor"] == first
    config["autoencoder"]["start_from"] = "autoencoder_v1.pt"
    (Path(config["run"]) / "latents" / "index.json").unlink()
    with pytest.raises(InputError, match="the scale factor of the model it came from has to be kept"):
        encode(config)
    unet = tmp_path / "unet.pt"
    torch.save({"unet_state_dict": {"w": torch.zeros(1)}, "scale_factor": torch.tensor(0.84375).half()}, unet)
    write_json(tmp_path / "card.json", {"latent": {"scale_factor": 1.5}})
    for given, factor in ((0.9, 0.9), (str(unet), 0.84375), (str(tmp_path / "card.json"), 1.5)):
        config["encode"]["scale_factor"] = given
        encode(config)
        assert index_of(config)["scale_factor"] == factor


def test_what_is_missing_is_said_in_a_sentence(config: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run the stage 'autoencoder' first"):
        encode(config | {"run": str(tmp_path / "new")})
    (Path(config["prepared"]) / "case_1" / "mask.npy").unlink()
    with pytest.raises(InputError, match="run the stages 'prepare' and 'label' first"):
        encode(config)
    with pytest.raises(InputError, match="do not vary"):
        scale_factor_of([(8.0, 16.0, 4)])
    config["encode"]["scale_factor"] = str(tmp_path / "none.json")
    with pytest.raises(InputError, match="which is no file"):
        encode(config)
