"""Fine-tuning from checkpoints in NVIDIA's released layouts: scale factor kept, a class added, nothing unpickled."""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from SynthCTLib.cards import load_card
from SynthCTLib.checkpoint import check_state, read_checkpoint
from SynthCTLib.conditioning import encode_mask
from SynthCTLib.denoiser import control_residuals, predict
from SynthCTLib.embedding import embed_labels
from SynthCTLib.errors import InputError, ModelError
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.networks import build_controlnet, build_unet, network_shapes
from SynthCTLib.resources import resource_path
from Testing.training.small_runs import CHANNELS, chest_mask, small_config, write_latents
from training.config import load_config
from training.denoiser import train_controlnet, train_diffusion
from training.denoiser_network import Denoiser, build_denoiser
from training.denoiser_settings import denoiser_settings
from training.files import load_checkpoint
from training.model_conditions import hu_prior

CONFIGS = Path(__file__).parents[2] / "training" / "configs"
NEW_CLASS = 133
"""The first id that the label table does not use."""


def random_state(network: torch.nn.Module, seed: int) -> dict[str, torch.Tensor]:
    """Random weights, also where MONAI starts with zeros, so that every part matters."""
    generator = torch.Generator().manual_seed(seed)
    return {key: 0.3 * torch.randn(value.shape, generator=generator) for key, value in network.state_dict().items()}


def release(config: dict[str, Any], folder: Path, scale_factor: float = 1.0) -> dict[str, Path]:
    """Files of U-Net and ControlNet as they are released, optimizer state included."""
    folder.mkdir(parents=True, exist_ok=True)
    common = {"epoch": 200, "loss": 0.0625}
    unet = random_state(build_unet(config["network"]["unet"]), 1)
    controlnet = random_state(build_controlnet(config["network"]["controlnet"]), 2)
    scale = torch.tensor(scale_factor, dtype=torch.float16)
    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-5}]}
    extra = {"num_train_timesteps": 1000, "scale_factor": scale, "optimizer": optimizer}
    files = {"unet": folder / "diff_unet.pt", "controlnet": folder / "controlnet.pt"}
    torch.save(common | extra | {"unet_state_dict": unet}, files["unet"])
    torch.save(common | {"controlnet_state_dict": controlnet}, files["controlnet"])
    return files


def released(tmp_path: Path, family: str = "rflow", channels: int = 8) -> tuple[dict[str, Any], dict[str, Path]]:
    """A config that fine-tunes both files with the trunk frozen, and the files."""
    config = small_config(tmp_path, family)
    config["network"]["controlnet"]["conditioning_embedding_in_channels"] = channels
    files = release(config, tmp_path / "released")
    config["diffusion"]["start_from"] = str(files["unet"])
    config["controlnet"] |= {"start_from": str(files["controlnet"]), "train_unet": False}
    return config, files


def at_start(config: dict[str, Any], scale_factor: float = 1.0) -> Denoiser:
    return build_denoiser(config, "controlnet", denoiser_settings(config, "controlnet"), -1.0, scale_factor)


@pytest.mark.parametrize("family", ["rflow", "ddpm"])
def test_controlnet_is_fine_tuned_on_a_released_unet_that_stays_as_it_is(tmp_path: Path, family: str) -> None:
    config, files = released(tmp_path, family)
    write_latents(config)
    train_controlnet(config)  # without the stage diffusion: the U-Net is the released one
    trained = load_checkpoint(Path(config["run"]) / "controlnet.pt")
    unet = torch.load(files["unet"], weights_only=True)["unet_state_dict"]
    controlnet = torch.load(files["controlnet"], weights_only=True)["controlnet_state_dict"]
    assert trained is not None and trained["step"] == 2
    assert all(torch.equal(trained["model"][f"unet.{key}"], value) for key, value in unet.items())
    moves = [(trained["model"][f"controlnet.{key}"] - value).abs().max() for key, value in controlnet.items()]
    assert 0 < max(moves) < 3 * config["controlnet"]["lr"]


def test_the_unet_is_fine_tuned_from_its_released_weights(tmp_path: Path) -> None:
    config, files = released(tmp_path)
    write_latents(config)
    config["diffusion"]["lr"] = 1e-7
    train_diffusion(config)
    trained = load_checkpoint(Path(config["run"]) / "diffusion.pt")
    unet = torch.load(files["unet"], weights_only=True)["unet_state_dict"]
    assert trained is not None
    assert all(torch.allclose(trained["model"][f"unet.{key}"], value, atol=1e-5) for key, value in unet.items())


def test_latents_of_another_scale_are_refused_and_the_sentence_says_how_to_keep_the_factor(tmp_path: Path) -> None:
    config, _ = released(tmp_path)
    with pytest.raises(InputError, match=r"scale factor 1 and the latents are scaled by 1\.3; .*encode\.scale_factor="):
        at_start(config, 1.3)
    assert isinstance(at_start(config, 1.0004), Denoiser)  # rounded to half precision in some files


def test_files_of_other_networks_and_files_that_run_code_are_refused(tmp_path: Path) -> None:
    config, files = released(tmp_path)
    config["controlnet"]["start_from"] = str(files["unet"])
    with pytest.raises(ModelError, match="taken as the controlnet, does not fit"):
        at_start(config)
    config["controlnet"]["start_from"] = str(tmp_path / "none.pt")
    with pytest.raises(ModelError, match="There is no file"):
        at_start(config)
    torch.save({"unet_state_dict": {"w": Path("x")}}, tmp_path / "code.pt")
    config["controlnet"]["start_from"] = str(tmp_path / "code.pt")
    with pytest.raises(ModelError, match="was refused"):
        at_start(config)


@pytest.fixture
def label_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, float]]:
    """The label table with one more row, as a user adds it; gives the typical HU as they were before."""
    before = hu_prior()
    folder = tmp_path / "labels"
    shutil.copytree(resource_path("labels"), folder)
    table = folder / "synthct-labels.csv"
    with table.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    row = next(row for row in rows if row["Name"] == "thyroid gland")
    changes = {"LabelValue": NEW_CLASS, "Name": "left parotid gland", "HuTypical": 20, "Type_CodeValue": "45289007"}
    new = (
        row
        | changes
        | {"DisplayName": "Left parotid gland", "TotalSegmentatorId": "", "TotalSegmentatorName": "", "Aliases": ""}
    )
    with table.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows([*rows, new])
    monkeypatch.setattr("SynthCTLib.labels.resource_path", lambda *parts: folder / parts[-1])
    load_vocabulary.cache_clear()
    yield before
    load_vocabulary.cache_clear()


def test_a_new_class_takes_a_row_of_the_table_and_no_change_to_the_networks(label_table: dict[str, float]) -> None:
    vocabulary = load_vocabulary()
    assert vocabulary.find("left parotid gland").id == NEW_CLASS
    assert hu_prior() == label_table | {str(NEW_CLASS): 20.0}
    ids = torch.tensor([0, *vocabulary.ids]).view(1, -1, 1, 1)
    for prior in (None, hu_prior()):
        codes = encode_mask(ids, prior)[0, :, :, 0, 0].T
        assert len(codes.unique(dim=0)) == len(vocabulary.ids) + 1  # no two classes look the same


@pytest.mark.parametrize("channels", [8, 9])
def test_masks_of_the_old_classes_are_painted_as_before(
    tmp_path: Path, channels: int, label_table: dict[str, float]
) -> None:
    config, files = released(tmp_path, channels=channels)
    unet, controlnet = build_unet(config["network"]["unet"]), build_controlnet(config["network"]["controlnet"])
    unet.load_state_dict(torch.load(files["unet"], weights_only=True)["unet_state_dict"])
    controlnet.load_state_dict(torch.load(files["controlnet"], weights_only=True)["controlnet_state_dict"])
    mask = torch.from_numpy(chest_mask())
    x, t = torch.randn(1, CHANNELS, 8, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([400.0])
    conditions = {"spacing": torch.tensor([[300.0, 300.0, 400.0]]), "class_labels": torch.tensor([1])}
    with torch.no_grad():
        embedding = embed_labels(controlnet.eval(), mask, label_table if channels == 9 else None)
        residuals = control_residuals(controlnet, x, t, embedding, conditions["class_labels"])
        before = predict(unet, x, t, residuals, **conditions)
        model = at_start(config)
        after = model(x, t, mask[None], conditions)
        with_new = mask.clone()
        with_new[4:8, 4:8, 4:8] = NEW_CLASS
        changed = model(x, t, with_new[None], conditions)
    assert torch.allclose(after, before, rtol=1e-4, atol=1e-4 * before.std().item())
    assert (changed - before).abs().max() > 0.01 * before.std()  # seen, if not understood, from the start


def test_the_new_class_can_be_weighted_and_contrasted_by_name(tmp_path: Path, label_table: dict[str, float]) -> None:
    config, _ = released(tmp_path)
    mask = chest_mask()
    mask[8:20, 8:20, 8:20] = NEW_CLASS
    write_latents(config, mask=mask)
    name = "left parotid gland"
    config["controlnet"] |= {"label_weights": {name: 10}, "contrast": {"weights": [[0, 0.01]], "labels": [name]}}
    train_controlnet(config)
    trained = load_checkpoint(Path(config["run"]) / "controlnet.pt")
    assert trained is not None and trained["step"] == 2


@pytest.fixture
def big_folder() -> Iterator[Path]:
    """A folder for gigabytes, which pytest would keep for days."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "parameters"), [("diffusion", {"unet": 180_500_868}), ("controlnet", {"controlnet": 72_037_072})]
)
def test_full_size_files_in_the_released_layout_are_fine_tuned_for_a_step(
    big_folder: Path, stage: str, parameters: dict[str, int]
) -> None:
    config = load_config(CONFIGS / "maisi-rflow.json", [])
    config |= {
        "run": str(big_folder / "run"),
        "prepared": str(big_folder),
        "accelerator": "cpu",
        "precision": "32-true",
    }
    files = release(config, big_folder / "released")
    config["diffusion"]["start_from"], config["controlnet"]["start_from"] = str(files["unet"]), str(files["controlnet"])
    config[stage] |= {"steps": 1, "lr": 1e-5, "val_crops": 1, "crops": [[8, 8, 8]]}
    mask = chest_mask()
    mask[8:20, 8:20, 8:20] = NEW_CLASS
    write_latents(config, mask=mask)
    {"diffusion": train_diffusion, "controlnet": train_controlnet}[stage](config)
    trained = load_checkpoint(Path(config["run"]) / f"{stage}.pt")
    assert trained is not None and trained["step"] == 1
    for part, count in parameters.items():
        start = read_checkpoint(files[part]).state
        state = {key.removeprefix(f"{part}."): v for key, v in trained["model"].items() if key.startswith(f"{part}.")}
        check_state(state, network_shapes(part, load_card("nv-generate-ct-rflow").networks[part]["arguments"]))
        assert sum(value.numel() for value in state.values()) == count
        moves = [(state[key] - value).abs().max().item() for key, value in start.items()]
        assert 0 < max(moves) < 2e-5  # Adam's first step is the learning rate
