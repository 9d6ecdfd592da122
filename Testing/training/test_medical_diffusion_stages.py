"""Medical Diffusion from prepared volumes to an exported model, and its diffusion stage piece by piece."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.networks.schedulers import DDPMScheduler

from SynthCTLib.cards import read_card
from SynthCTLib.errors import InputError
from SynthCTLib.job import Job
from SynthCTLib.pipeline import generate
from SynthCTLib.store import ModelStore
from Testing.training.medical_diffusion_cases import tiny_config, write_prepared
from training.files import load_checkpoint
from training.medical_diffusion.diffusion_stage import DiffusionStage, train_diffusion
from training.medical_diffusion.export import export
from training.medical_diffusion.latents import encode_volumes, read_latents, trained_vqgan
from training.medical_diffusion.stage import one_device
from training.medical_diffusion.volumes import VolumeSet
from training.medical_diffusion.vqgan_stage import train_vqgan


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A config whose VQ-GAN is trained and whose latents are encoded."""
    config = tiny_config(tmp_path_factory.mktemp("medical-diffusion"))
    write_prepared(config)
    train_vqgan(config)
    encode_volumes(config)
    return config


def test_latents_are_those_of_the_unquantized_encoder_in_the_range_of_the_codes(trained: dict[str, Any]) -> None:
    vqgan, volume = trained_vqgan(trained), VolumeSet(trained, "val").tensor(0)[None]
    low, high = float(vqgan.codebook.codes.min()), float(vqgan.codebook.codes.max())
    expected = 2 * (vqgan.encode(volume) - low) / (high - low) - 1
    stored = read_latents(trained, "val")
    assert torch.allclose(stored, expected, atol=1e-5)
    assert not torch.allclose(stored, 2 * (vqgan.codebook.quantize(vqgan.encode(volume)) - low) / (high - low) - 1)


def test_training_volumes_are_encoded_both_ways_and_held_out_ones_as_they_are(trained: dict[str, Any]) -> None:
    latents = read_latents(trained, "train")
    assert latents.shape == (6, 3, 4, 4, 4) and read_latents(trained, "val").shape[0] == 1
    vqgan, volumes = trained_vqgan(trained), VolumeSet(trained, "train")
    low, high = vqgan.codebook.range()
    mirrored = 2 * (vqgan.encode(volumes.tensor(0, flip=True)[None]) - low) / (high - low) - 1
    assert torch.allclose(latents[1], mirrored[0], atol=1e-5)


def test_the_codebook_restarts_nothing_in_the_average(trained: dict[str, Any]) -> None:
    state = load_checkpoint(Path(trained["run"]) / "vqgan.pt")
    assert state is not None
    assert not [key for key in state["ema"]["shadow"] if "codes" in key]
    assert torch.equal(trained_vqgan(trained).codebook.codes, state["model"]["codebook.codes"])


def test_the_loss_is_the_l1_distance_to_the_noise_of_the_forward_process(
    trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = DiffusionStage(trained, one_device(trained, "32-true"))
    seen = {}

    def model(x: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        seen.update(x=x, times=times)
        return torch.zeros_like(x)

    monkeypatch.setattr(stage, "model", model)
    latents = read_latents(trained, "train")[:4]
    loss = stage.loss(latents, torch.Generator().manual_seed(5))
    alphas = DDPMScheduler(num_train_timesteps=300, schedule="cosine", s=0.008).alphas_cumprod[seen["times"]]
    alphas = alphas.reshape(-1, 1, 1, 1, 1)
    noise = (seen["x"] - alphas.sqrt() * latents) / (1 - alphas).sqrt()
    assert loss.item() == pytest.approx(noise.abs().mean().item(), rel=1e-3)
    assert seen["times"].min() >= 0 and seen["times"].max() < 300


def test_a_killed_diffusion_run_goes_on_to_the_very_same_weights(
    trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    train_diffusion(trained)
    path = Path(trained["run"]) / "md-diffusion.pt"
    whole = load_checkpoint(path)
    path.unlink()
    own = DiffusionStage.step

    def killed(self: DiffusionStage, step: int) -> dict[str, float]:
        if step == 2:
            raise KeyboardInterrupt
        return own(self, step)

    monkeypatch.setattr(DiffusionStage, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        train_diffusion(trained)
    monkeypatch.setattr(DiffusionStage, "step", own)
    train_diffusion(trained)
    cut = load_checkpoint(path)
    assert whole is not None and cut is not None and cut["step"] == 4
    for key, value in whole["model"].items():
        assert torch.equal(value, cut["model"][key]), key
        assert torch.equal(whole["ema"]["shadow"][key], cut["ema"]["shadow"][key]), key


def test_the_exported_card_says_grid_range_and_sources(trained: dict[str, Any]) -> None:
    train_diffusion(trained)
    export(trained)
    card = read_card(Path(trained["export"]["folder"]) / "card.json").to_json()
    assert card["family"] == "medical-diffusion"
    assert card["grid"]["defaults"]["*"] == {"size": [16, 16, 8], "spacing": [3.0, 3.0, 3.0]}
    assert card["latent"] == {"channels": 3, "downsampling": [2, 4, 4], "depth_axis": 2}
    assert card["sources"] == [{"name": "phantoms", "licence": "CC0", "citation": "", "cases": 3}]


def test_what_was_trained_is_imported_and_sampled_by_the_engine(trained: dict[str, Any], tmp_path: Path) -> None:
    train_diffusion(trained)
    export(trained)
    folder, store = Path(trained["export"]["folder"]), ModelStore(tmp_path / "store")
    store.import_files(read_card(folder / "card.json"), sorted(folder.glob("*.safetensors")))
    job = Job(None, tmp_path / "out", trained["export"]["card"]["id"], preset="draft", seed=1, count=2, device="cpu")
    (one, other) = generate(job, store=store).cts
    images = [nib.load(ct.folder / "ct.nii.gz") for ct in (one, other)]
    arrays = [np.asarray(image.dataobj) for image in images]
    assert arrays[0].shape == (16, 16, 8) and not np.array_equal(*arrays)
    np.testing.assert_allclose(np.diag(images[0].affine), [3, 3, 3, 1])


def test_a_vqgan_that_was_trained_on_needs_new_latents_and_a_new_diffusion_model(
    trained: dict[str, Any], tmp_path: Path
) -> None:
    train_diffusion(trained)
    shutil.copytree(trained["run"], tmp_path / "run")
    config = copy.deepcopy(trained) | {"run": str(tmp_path / "run")}
    export(config)
    config["vqgan"]["steps"] += 1
    train_vqgan(config)
    for split in ("train", "val"):
        with pytest.raises(InputError, match="'md-encode' again"):
            read_latents(config, split)
    encode_volumes(config)
    for stage in (train_diffusion, export):
        with pytest.raises(InputError, match=r"delete md-diffusion\.pt"):
            stage(config)
    (tmp_path / "run" / "md-diffusion.pt").unlink()
    train_diffusion(config)
    export(config)


def test_a_vqgan_of_another_network_than_the_config_describes_is_refused(trained: dict[str, Any]) -> None:
    config = copy.deepcopy(trained)
    config["network"]["vqgan"]["codes"] *= 2
    with pytest.raises(InputError, match=r"network\.vqgan"):
        trained_vqgan(config)


def test_stages_in_the_wrong_order_say_which_one_is_missing(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    write_prepared(config)
    for stage, missing in ((encode_volumes, "vqgan"), (train_diffusion, "md-encode"), (export, "md-diffusion")):
        with pytest.raises(InputError, match=f"'{missing}'"):
            stage(config)
