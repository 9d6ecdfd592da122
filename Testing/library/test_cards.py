"""Model cards: what ships is valid and coherent, and a wrong card or name is answered in words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from monai.networks.schedulers import DDPMScheduler, RFlowScheduler

from SynthCTLib.cards import ModelCard, invalid_cards, list_cards, load_card, read_card
from SynthCTLib.conditioning import mask_channel_count
from SynthCTLib.errors import ModelError
from SynthCTLib.resources import resource_path
from SynthCTLib.store import ModelStore
from Testing.library.model_samples import tiny_card

SHIPPED = sorted(path.parent.name for path in resource_path("models").glob("*/card.json"))


@pytest.fixture(params=SHIPPED)
def shipped(request: pytest.FixtureRequest) -> ModelCard:
    return load_card(request.param)


def test_the_cards_of_both_nvidia_models_ship() -> None:
    assert {"nv-generate-ct-rflow", "nv-generate-ct-ddpm"} <= {card.id for card in list_cards()}


def test_a_card_lies_in_a_folder_of_its_id(shipped: ModelCard) -> None:
    assert shipped.path.parent.name == shipped.id


def test_the_scheduler_settings_are_what_monai_takes(shipped: ModelCard) -> None:
    scheduler = {"rflow": RFlowScheduler, "ddpm": DDPMScheduler}[shipped.family](**shipped.scheduler)
    assert scheduler.num_train_timesteps == 1000


def test_the_conditioning_is_what_the_networks_take(shipped: ModelCard) -> None:
    unet, controlnet = (shipped.networks[part]["arguments"] for part in ("unet", "controlnet"))
    conditioning = shipped.conditioning
    assert controlnet["conditioning_embedding_in_channels"] == mask_channel_count(conditioning["hu_prior"])
    assert (conditioning["class_label"] is not None) == ("num_class_embeds" in unet)
    assert conditioning["body_region"] == unet.get("include_top_region_index_input", False)
    assert unet["in_channels"] == controlnet["in_channels"] == shipped.latent["channels"]


def test_the_default_grids_obey_the_grid_rules_of_their_card(shipped: ModelCard) -> None:
    def allowed(size: int, rule: dict) -> bool:
        if "choices" in rule:
            return size in rule["choices"]
        return size % rule["multiple"] == 0 and rule["min"] <= size <= rule["max"]

    grid = shipped.grid
    for name, default in grid["defaults"].items():
        (x, y, z), (dx, dy, dz) = default["size"], default["spacing"]
        assert allowed(x, grid["xy"]) and allowed(y, grid["xy"]) and allowed(z, grid["z"]), name
        assert all(grid["spacing_xy"][0] <= d <= grid["spacing_xy"][1] for d in (dx, dy)), name
        assert grid["spacing_z"][0] <= dz <= grid["spacing_z"][1], name
        assert min(x * dx, y * dy) >= grid["fov_xy_min"], name
        assert x == y or not grid["square"], name


def test_a_typo_is_answered_with_the_nearest_model() -> None:
    with pytest.raises(ModelError, match="did you mean nv-generate-ct-rflow"):
        load_card("nv-generate-ct-rflw")


def test_an_id_cannot_lead_out_of_the_models_folder(tmp_path: Path) -> None:
    tiny_card(tmp_path / "outside")
    store = ModelStore(tmp_path / "store")
    with pytest.raises(ModelError, match="no model card at"):
        load_card("../outside", store)


def test_a_card_is_found_by_file_and_by_folder(tmp_path: Path) -> None:
    card = tiny_card(tmp_path / "mine")
    assert load_card(card.path) == load_card(str(tmp_path / "mine")) == card


def test_a_users_card_in_the_store_is_listed_after_those_that_ship(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    tiny_card(tmp_path / "tiny")
    assert [card.id for card in list_cards(store)][-1] == "tiny"
    assert load_card("tiny", store).path == tmp_path / "tiny" / "card.json"


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": 1, "id": "broken"}'])
def test_a_card_in_the_store_that_is_not_valid_is_left_out_and_its_file_named(tmp_path: Path, content: str) -> None:
    tiny_card(tmp_path / "tiny")
    broken = tmp_path / "broken" / "card.json"
    broken.parent.mkdir()
    broken.write_text(content, encoding="utf-8")
    store = ModelStore(tmp_path)
    assert [card.id for card in list_cards(store)] == [*(card.id for card in list_cards()), "tiny"]
    (error,) = invalid_cards(store).values()
    assert str(broken) in str(error)


def test_a_card_in_the_store_cannot_stand_in_for_one_that_ships(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    tiny_card(tmp_path / "nv-generate-ct-rflow", id="nv-generate-ct-rflow")
    assert load_card("nv-generate-ct-rflow", store).path.is_relative_to(resource_path("models"))
    assert [card.id for card in list_cards(store)].count("nv-generate-ct-rflow") == 1


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("family", "gan", "family"),
        ("id", "../evil", "id"),
        ("latent", {"channels": 4, "downsampling": 4, "scale_factor": -1}, "scale_factor"),
        ("surprise", 1, "surprise"),
    ],
)
def test_a_card_that_breaks_the_schema_is_refused_and_the_entry_named(
    tmp_path: Path, key: str, value: object, sentence: str
) -> None:
    with pytest.raises(ModelError, match=sentence):
        tiny_card(tmp_path, **{key: value})


def test_a_file_name_in_a_card_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    card = tiny_card(tmp_path)
    data = card.to_json()
    data["files"]["unet"]["name"] = "../../unet.safetensors"
    card.path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ModelError, match="files/unet/name"):
        read_card(card.path)


def test_a_card_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match="no valid JSON"):
        load_card(tmp_path)
