"""What the denoiser is shown: the draws of a step, size buckets, conditions, labels left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from SynthCTLib.conditions import build_conditions
from SynthCTLib.errors import InputError
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.regions import Region
from Testing.training.small_runs import CHANNELS, chest_mask, small_config, write_latents
from training.batches import Batch, BatchSampler
from training.denoiser_settings import denoiser_settings
from training.files import write_json
from training.label_dropout import DropoutSettings, drop_labels, may_be_left_out
from training.latents import LatentSet, read_latents
from training.model_conditions import conditioning_of

SHAPES = {"train_a": (8, 8, 8), "train_b": (8, 8, 8), "train_c": (8, 8, 12), "val_a": (8, 8, 8)}


def sampler(config: dict[str, Any], seed: int = 1, multiple: int = 2, **settings: Any) -> BatchSampler:
    config["diffusion"] |= settings
    read = denoiser_settings(config, "diffusion")
    latents = read_latents(Path(config["run"]), Path(config["prepared"]), "train", CHANNELS)
    return BatchSampler(latents, read, conditioning_of(config["network"]), seed, multiple, read.weights)


def same(one: Batch, other: Batch) -> bool:
    alike = torch.equal(one.latent, other.latent) and torch.equal(one.mask, other.mask)
    return alike and all(torch.equal(value, other.conditions[name]) for name, value in one.conditions.items())


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    config = small_config(tmp_path)
    write_latents(config, SHAPES)
    return config


def test_what_is_drawn_depends_on_seed_step_and_place_alone(config: dict[str, Any]) -> None:
    first, second = sampler(config), sampler(config)
    ahead = [first.draw(step) for step in range(6)]
    assert same(second.draw(5), ahead[5]) and same(second.draw(2), ahead[2])
    assert not same(second.draw(5, micro=1), ahead[5]) and not same(sampler(config, seed=2).draw(5), ahead[5])


def test_volumes_come_in_buckets_of_one_size_which_all_processes_draw_alike(config: dict[str, Any]) -> None:
    volumes = sampler(config, crops="whole", batch=2)
    sizes = []
    for step in range(20):
        shapes = {tuple(volumes.draw(step, micro).latent.shape) for micro in range(3)}
        assert len(shapes) == 1  # one size in the whole step, whatever the process or micro-batch
        sizes.append(shapes.pop())
    assert set(sizes) == {(2, CHANNELS, 8, 8, 8), (2, CHANNELS, 8, 8, 12)}
    assert sizes.count((2, CHANNELS, 8, 8, 8)) > sizes.count((2, CHANNELS, 8, 8, 12))  # two volumes against one


def test_crops_of_a_batch_have_one_size_and_small_volumes_are_passed_over(config: dict[str, Any]) -> None:
    batch = sampler(config, crops=[[8, 8, 12]], batch=3).draw(0)
    assert batch.latent.shape == (3, CHANNELS, 8, 8, 12) and batch.mask.shape == (3, 32, 32, 48)
    with pytest.raises(InputError, match="No latent is as large as the crop 16×16×16"):
        sampler(config, crops=[[16, 16, 16]], batch=3).draw(0)


def test_sides_are_cut_to_what_the_unet_can_halve(config: dict[str, Any]) -> None:
    volumes = sampler(config, crops="whole", multiple=8)
    assert {tuple(volumes.draw(step).latent.shape[2:]) for step in range(9)} == {(8, 8, 8)}  # 12 becomes 8
    small = sampler(config, crops=[[8, 8, 16]], multiple=8)
    assert {tuple(small.draw(step).mask.shape[1:]) for step in range(9)} == {(32, 32, 32)}
    with pytest.raises(InputError, match="multiples of 2, and 4×4×5 is none"):
        sampler(config, crops=[[4, 4, 5]])
    with pytest.raises(InputError, match="smaller than 16 voxels along a side"):
        sampler(config, crops="whole", multiple=16)


def test_crops_are_laid_around_lesions_when_that_is_asked_for(config: dict[str, Any]) -> None:
    always = sampler(config, crops=[[2, 2, 2]], lesion_crops=1.0)
    assert all((always.draw(step).mask == 26).any() for step in range(10))
    never = sampler(config, crops=[[2, 2, 2]], lesion_crops=0.0)
    assert not all((never.draw(step).mask == 26).any() for step in range(10))


def test_the_conditions_are_those_that_the_engine_gives_when_it_samples(tmp_path: Path) -> None:
    for family, names in (("rflow", {"spacing", "class_labels"}), ("ddpm", {"spacing", "top_region", "bottom_region"})):
        config = small_config(tmp_path / family, family)
        write_latents(config)
        batch = sampler(config, crops="whole", class_dropout=0.0).draw(0)
        assert set(batch.conditions) == names
        card = conditioning_of(config["network"])
        engine = build_conditions(card, (3, 3, 4), Region(1, 2))  # lungs and liver: chest to abdomen
        assert torch.equal(batch.conditions["spacing"], engine.spacing)
        if family == "ddpm":
            assert batch.conditions["top_region"].tolist() == engine.top_region.tolist() == [[0, 100, 0, 0]]
            assert batch.conditions["bottom_region"].tolist() == engine.bottom_region.tolist() == [[0, 0, 100, 0]]
        else:
            assert batch.conditions["class_labels"].tolist() == engine.class_label.tolist() == [1]


def test_a_crop_without_organs_has_the_region_that_was_stated_for_its_case(tmp_path: Path) -> None:
    config = small_config(tmp_path, "ddpm")
    write_latents(config, mask=np.full((32, 32, 32), 200, np.uint8))
    with pytest.raises(InputError, match="Nothing says which part of the body train_a shows"):
        sampler(config).draw(0)
    case = {"case_id": "train_a", "split": "train", "region": ["abdomen", "lower"]}
    Path(config["prepared"]).mkdir()
    write_json(Path(config["prepared"]) / "cases.json", {"cases": [case]})
    conditions = sampler(config).draw(0).conditions
    assert conditions["top_region"].argmax() == 2 and conditions["bottom_region"].argmax() == 3


def test_the_modality_is_withheld_as_often_as_class_dropout_says(config: dict[str, Any]) -> None:
    for share, expected in ((0.0, {1}), (1.0, {0}), (0.5, {0, 1})):
        drawn = sampler(config, class_dropout=share)
        assert {drawn.draw(step).conditions["class_labels"].item() for step in range(12)} == expected


def test_soft_organs_can_go_to_the_body_but_bones_lungs_and_lesions_stay() -> None:
    find = load_vocabulary().find
    assert may_be_left_out(find("liver")) and may_be_left_out(find("aorta"))
    for name in ("hepatic tumor", "left lung upper lobe", "vertebrae L3", "brain", "body"):
        assert not may_be_left_out(find(name)), name
    mask = chest_mask()
    dropped = drop_labels(mask, DropoutSettings(1.0, 1.0), np.random.default_rng(0))
    assert set(np.unique(mask)) == {0, 1, 26, 28, 30, 200} and set(np.unique(dropped)) == {0, 26, 28, 30, 200}
    assert (dropped[mask == 1] == 200).all()
    assert drop_labels(mask, DropoutSettings(0.0, 1.0), np.random.default_rng(0)) is mask


def test_the_masks_of_the_contrastive_loss_lack_its_lesions_alone(config: dict[str, Any]) -> None:
    batch = sampler(config, crops="whole", contrast={"labels": ["hepatic tumor"]}).draw(0)
    changed = batch.mask != batch.without
    assert (batch.mask[changed] == 26).all() and (batch.without[changed] == 1).all() and changed.sum() == 6**3


def test_volumes_beyond_the_memory_limit_are_read_again_and_stay_the_same(config: dict[str, Any]) -> None:
    latents = read_latents(Path(config["run"]), Path(config["prepared"]), "train", CHANNELS)
    one_volume = LatentSet(latents.entries, 1.0, limit=2 * 4 * 8**3 + 32**3 + 12)
    for entry in (*latents.entries, *latents.entries):
        assert all(np.array_equal(a, b) for a, b in zip(one_volume.read(entry), latents.read(entry), strict=True))
    assert latents.read(latents.entries[0])[0] is latents.read(latents.entries[0])[0]
    first = one_volume.read(one_volume.entries[0])[0]
    one_volume.read(one_volume.entries[1])
    assert one_volume.read(one_volume.entries[0])[0] is not first


def test_mistakes_in_data_and_config_are_one_sentence(config: dict[str, Any], tmp_path: Path) -> None:
    run, prepared = Path(config["run"]), Path(config["prepared"])
    with pytest.raises(InputError, match="run the stage 'encode' first"):
        read_latents(tmp_path / "empty", prepared, "train", CHANNELS)
    with pytest.raises(InputError, match=r"have 4 channels and network\.unet\.in_channels is 16"):
        read_latents(run, prepared, "train", 16)
    with pytest.raises(InputError, match="is of the split 'test'"):
        read_latents(run, prepared, "test", CHANNELS)
    wrong = [
        ({"weights": {"richt": 1}}, r"diffusion\.weights names the kind 'richt'"),
        ({"weights": {"rich": 1}}, "leaves no latent to draw; there are latents of the kinds other"),
        ({"crops": [16, 16, 16]}, r"not valid at 'diffusion\.crops"),
        ({"batchs": 2}, "'batchs' was unexpected"),
        ({"loss": "l3"}, r"'diffusion\.loss'"),
        ({"label_weights": {"hepatik tumor": 9}}, "'hepatik tumor' is not a label"),
        ({"contrast": {"weights": [[0, 1]], "labels": ["hepatic tumor"]}}, "which the U-Net alone does not see"),
        ({"times": {"method": "never"}}, r"diffusion\.times"),
    ]
    for settings, sentence in wrong:
        with pytest.raises(InputError, match=sentence):
            sampler({**config, "diffusion": {**config["diffusion"], **settings}})


def test_networks_that_no_card_could_describe_are_refused(config: dict[str, Any]) -> None:
    network = config["network"]
    half = {**network, "unet": {**network["unet"], "include_top_region_index_input": True}}
    with pytest.raises(InputError, match="needs both"):
        conditioning_of(half)
    odd = {**network, "controlnet": {**network["controlnet"], "conditioning_embedding_in_channels": 7}}
    with pytest.raises(InputError, match="is 7; use 8"):
        conditioning_of(odd)
