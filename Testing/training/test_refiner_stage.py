"""The stage refiner: what it is trained on, the terms of its loss, learning, and resuming after a kill."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from SynthCTLib.errors import InputError
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.networks import build_autoencoder
from Testing.training.killed_stage import run_until_killed
from Testing.training.small_runs import small_config, write_latents
from training.denoiser import train_controlnet, train_diffusion
from training.files import load_checkpoint, save_checkpoint
from training.metrics.following import threshold_dice
from training.refiner import new_refiner, train_refiner
from training.refiner_loss import follow, is_among, keep, pattern, told_ids
from training.refiner_volumes import CropSampler, Volume, make_volumes
from training.trained_networks import averaged_weights

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = {
    "steps": 3,
    "batch": 1,
    "patch": 16,
    "lr": 1e-3,
    "warmup": 1,
    "ema": 0.5,
    "volumes": 1,
    "val_volumes": 1,
    "weights": {"other": 1},
    "val_every": 3,
}


def run_folder(folder: Path, images: bool = True) -> dict[str, Any]:
    """A run as the stages before leave it, with untrained networks; real CTs are bright where the mask has bone."""
    config = small_config(folder)
    write_latents(config)
    for path in (Path(config["run"]) / "latents").glob("*.npz"):
        with np.load(path) as data:
            stored = dict(data)
        stored["mask"][4:8] = 95  # hip
        noise = np.random.default_rng(0).normal(0, 0.01, stored["mask"].shape)
        unit = np.select(
            [stored["mask"] == 0, stored["mask"] == 95, np.isin(stored["mask"], (28, 30))], [0, 0.8, 0.1], 0.5
        )
        stored["image"] = (unit + noise).astype(np.float16)
        np.savez(path, **{key: value for key, value in stored.items() if images or key != "image"})
    torch.manual_seed(0)
    shadow = build_autoencoder(config["network"]["autoencoder"]).state_dict()
    save_checkpoint(Path(config["run"]) / "autoencoder.pt", {"ema": {"shadow": shadow}, "step": 1})
    train_diffusion(config)
    train_controlnet(config)
    config["network"]["refiner"] = {"channels": 8, "blocks": 1, "label_channels": 2}
    config["refiner"] = dict(SETTINGS)
    return config


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    config = run_folder(tmp_path_factory.mktemp("refiner"))
    torch.set_num_threads(before)
    return config


def copied(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    shutil.copytree(config["run"], folder / "run")
    return {**config, "run": str(folder / "run"), "refiner": dict(config["refiner"])}


def saved(config: dict[str, Any]) -> dict[str, Any]:
    state = load_checkpoint(Path(config["run"]) / "refiner.pt")
    assert state is not None
    return state


def test_of_each_latent_a_decoded_and_a_sampled_image_are_made_once(run: dict[str, Any], tmp_path: Path) -> None:
    config = copied(run, tmp_path)
    (volume,) = make_volumes(config, "train", 1, {"other": 1})
    assert volume.decoded.shape == volume.sampled.shape == volume.real.shape == volume.mask.shape
    assert (volume.decoded != volume.sampled).mean() > 0.5
    (kept,) = (Path(config["run"]) / "refiner").iterdir()
    before = kept.stat().st_mtime_ns
    (again,) = make_volumes(config, "train", 1, {"other": 1})
    assert kept.stat().st_mtime_ns == before
    np.testing.assert_array_equal(again.sampled, volume.sampled)
    train_controlnet({**config, "controlnet": config["controlnet"] | {"steps": 3}})
    make_volumes(config, "train", 1, {"other": 1})
    assert kept.stat().st_mtime_ns != before, "made by other weights"


def test_latents_without_images_are_refused_with_what_to_do(run: dict[str, Any], tmp_path: Path) -> None:
    config = copied(run, tmp_path)
    path = Path(config["run"]) / "latents" / "train_a.npz"
    with np.load(path) as data:
        without = {key: data[key] for key in data if key != "image"}
    np.savez(path, **without)
    with pytest.raises(InputError, match=r"run 'encode' with encode\.images=true"):
        make_volumes(config, "train", 1, {"other": 1})
    with pytest.raises(InputError, match="of a kind with a weight"):
        make_volumes(config, "train", 1, {"rich": 1})


def volume_with_a_lesion() -> Volume:
    mask = np.full((40, 40, 40), 200, np.uint8)
    mask[30:34, 30:34, 30:34] = 26
    values = np.arange(mask.size, dtype=np.float32).reshape(mask.shape) / mask.size
    return Volume("a", "other", values, values + 1, values + 2, mask)


def test_crops_show_the_same_place_in_every_image_and_lesions_when_asked(tmp_path: Path) -> None:
    volume = volume_with_a_lesion()
    rng = np.random.default_rng(0)
    always = CropSampler([volume], 16, lesion_crops=1.0).batch(8, rng)
    assert (always.mask == 26).flatten(1).any(1).all()
    seldom = CropSampler([volume], 16, lesion_crops=0.0).batch(8, rng)
    assert not (seldom.mask == 26).flatten(1).any(1).all()
    for crop in (always, seldom):
        torch.testing.assert_close(crop.decoded, crop.real + 1)
        torch.testing.assert_close(crop.sampled, crop.real + 2)
        assert {bool(c[0, 0, 0, 0] > c[0, -1, 0, 0]) for c in crop.real} == {True, False}, "mirrored half of the time"
    with pytest.raises(InputError, match="smaller than the crop of 48"):
        CropSampler([volume], 48, 0.0)


def test_a_sample_is_held_to_the_real_ct_where_the_mask_tells_and_to_itself_elsewhere() -> None:
    mask = torch.full((1, 16, 16, 16), 200, dtype=torch.uint8)
    mask[:, :8] = 95
    told = is_among(mask, told_ids())
    real, sampled = torch.full((1, 1, 16, 16, 16), 0.8), torch.full((1, 1, 16, 16, 16), 0.4)
    asked = torch.where(told, real, sampled)
    assert keep(asked, sampled, told) == 0
    # One voxel around is told, too: a plane of 16 in which the sample is 0.4 off.
    assert follow(asked, real, told).item() == pytest.approx(0.4 / 16, rel=1e-5)
    assert follow(sampled, real, told) > 8 * follow(asked, real, told)
    assert keep(real, sampled, told).item() == pytest.approx(0.4 / 2, rel=1e-5)


def test_a_checkerboard_is_found_and_noise_and_a_shift_are_not() -> None:
    x, y, z = torch.meshgrid(*[torch.arange(24)] * 3, indexing="ij")
    image = torch.rand((1, 1, 24, 24, 24), generator=torch.Generator().manual_seed(0))
    board = 0.02 * (1 - 2.0 * ((x + y + z) % 2))[None, None]
    noise = 0.02 * torch.randn((1, 1, 24, 24, 24), generator=torch.Generator().manual_seed(1))
    assert pattern(image + board, image).item() == pytest.approx(0.02, rel=1e-3)
    assert pattern(image + noise, image).item() < 0.003
    assert pattern(image + 0.02, image).item() < 1e-6


def test_every_label_is_known_by_its_typical_hu_before_training() -> None:
    refiner = new_refiner({"channels": 4, "blocks": 1, "label_channels": 3})
    liver = load_vocabulary().find("liver")
    assert refiner.labels.weight[liver.id].tolist() == pytest.approx([liver.hu_typical / 1000, 0, 0])
    assert refiner.labels.weight[0].tolist() == [-1, 0, 0]


def test_it_learns_to_show_bone_that_the_decoder_loses(
    run: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = copied(run, tmp_path)
    config["refiner"] |= {"steps": 200, "val_every": 200, "lr": 3e-3, "ema": 0.9}
    config["refiner"] |= {"l1": 0, "window_l1": 0, "edges_l1": 0, "keep": 0, "pattern": 0, "follow": 5}
    train_refiner(config)
    shown = capsys.readouterr().out
    (held_out,) = make_volumes(config, "val", 1, {"other": 1})
    unit = held_out.sampled.astype(np.float32) * (held_out.mask > 0)
    before = threshold_dice(2000 * unit - 1000, held_out.mask)["bone"]
    assert before < 0.4 and float(shown.split("val_bone_share=")[1].split()[0]) > 0.7


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_run_goes_on_to_the_same_weights_as_one_that_was_not(run: dict[str, Any], tmp_path: Path) -> None:
    whole, killed = (copied(run, tmp_path / name) for name in ("whole", "killed"))
    for config in (whole, killed):
        config["refiner"] |= {"steps": 8, "save_every": 0, "val_every": 8}
    train_refiner(whole)
    run_until_killed(killed, "refiner", saves=4)
    assert saved(killed)["step"] == 4
    train_refiner(killed)
    one, other = saved(whole), saved(killed)
    assert all(torch.equal(one["model"][key], other["model"][key]) for key in one["model"])
    assert all(torch.equal(one["ema"]["shadow"][key], other["ema"]["shadow"][key]) for key in one["ema"]["shadow"])


def test_a_refiner_that_was_trained_is_exported_and_belongs_to_the_model(run: dict[str, Any], tmp_path: Path) -> None:
    config = copied(run, tmp_path)
    parts = tuple(config["network"])
    assert set(averaged_weights(Path(config["run"]), parts)) == {"autoencoder", "unet", "controlnet"}
    train_refiner(config)
    assert set(averaged_weights(Path(config["run"]), parts)) == {"autoencoder", "unet", "controlnet", "refiner"}
    train_controlnet({**config, "controlnet": config["controlnet"] | {"steps": 3}})
    with pytest.raises(InputError, match="run 'refiner' again"):
        averaged_weights(Path(config["run"]), parts)


def test_without_a_trained_denoiser_the_stage_to_run_first_is_named(run: dict[str, Any], tmp_path: Path) -> None:
    config = copied(run, tmp_path)
    (Path(config["run"]) / "controlnet.pt").unlink()
    with pytest.raises(InputError, match="run the stages 'autoencoder' and 'controlnet' first"):
        train_refiner(config)
