"""The models folder: import from released files, state, verification, removal, and loading what is there."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path

import platformdirs
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from SynthCTLib.cards import PARTS, ModelCard
from SynthCTLib.errors import Cancelled, ModelError, ResourceError
from SynthCTLib.loading import load_networks
from SynthCTLib.model_files import sha256_of
from SynthCTLib.progress import Progress
from SynthCTLib.store import ModelStore
from Testing.library.model_samples import SCALE, random_state, released, tiny_card, write_released

CPU = torch.device("cpu")


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    return tiny_card(tmp_path / "card")


@pytest.fixture
def files(card: ModelCard, tmp_path: Path) -> dict[str, Path]:
    return write_released(card, tmp_path / "released")


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "store")


@pytest.fixture
def filled(card: ModelCard, files: dict[str, Path], store: ModelStore) -> ModelStore:
    store.import_files(card, files.values())
    return store


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def test_the_folder_is_the_users_choice_or_the_platforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHCT_MODELS", str(tmp_path / "mine"))
    assert ModelStore().root == tmp_path / "mine"
    monkeypatch.delenv("SYNTHCT_MODELS")
    assert ModelStore().root.is_relative_to(platformdirs.user_data_path("SynthCT", appauthor=False))


def test_released_files_become_a_ready_model_without_optimizer_state(filled: ModelStore, card: ModelCard) -> None:
    assert filled.status(card) == "ready"
    assert filled.verify(card) == []
    for part in PARTS:
        stored = load_file(filled.file(card, part))
        expected = random_state(card, part)
        assert stored.keys() == expected.keys()
        assert all(torch.equal(stored[key], value) for key, value in expected.items())


def test_a_stored_file_says_where_it_came_from(filled: ModelStore, card: ModelCard, files: dict[str, Path]) -> None:
    with safe_open(filled.file(card, "unet"), framework="pt") as file:
        metadata = file.metadata()
    assert metadata["card"] == "tiny" and metadata["source"] == files["unet"].name
    assert metadata["source_sha256"] == sha256_of(files["unet"])
    assert float(metadata["scale_factor"]) == SCALE


def test_loaded_networks_are_those_of_the_files_and_ready_to_run(filled: ModelStore, card: ModelCard) -> None:
    networks = load_networks(card, filled, CPU, torch.float32)
    assert networks.scale_factor == SCALE
    for part in PARTS:
        network = getattr(networks, part)
        assert not network.training and not any(p.requires_grad for p in network.parameters())
        state, stored = network.state_dict(), random_state(card, part)
        # The convolution behind a doubling is one layer with it (test_acceleration.py shows that they are equal).
        assert all(".upsampler.conv1." in key for key in stored.keys() - state.keys())
        assert all(torch.equal(state[key], stored[key]) for key in stored.keys() & state.keys())
    image = networks.autoencoder.decode(torch.zeros(1, 4, 4, 4, 4))
    assert image.shape == (1, 1, 16, 16, 16) and torch.isfinite(image).all()


def test_half_precision_halves_the_files_and_loads_in_the_asked_precision(
    card: ModelCard, files: dict[str, Path], store: ModelStore
) -> None:
    store.import_files(card, files.values(), half=True)
    stored = load_file(store.file(card, "unet"))
    assert all(value.dtype == torch.float16 for value in stored.values())
    networks = load_networks(card, store, CPU, torch.float32)
    weight = networks.unet.state_dict()["conv_in.conv.weight"]
    expected = random_state(card, "unet")["conv_in.conv.weight"]
    assert weight.dtype == torch.float32 and torch.allclose(weight, expected, atol=1e-4)


def test_files_can_be_imported_one_at_a_time(card: ModelCard, files: dict[str, Path], store: ModelStore) -> None:
    assert store.status(card) == "missing"
    store.import_files(card, [files["unet"]])
    assert store.status(card) == "incomplete" and store.missing_parts(card) == ["autoencoder", "controlnet"]
    store.import_files(card, [files["controlnet"], files["autoencoder"]])
    assert store.status(card) == "ready"


def test_parts_are_told_by_content_and_not_by_name(card: ModelCard, files: dict[str, Path], store: ModelStore) -> None:
    swapped = {"unet": files["unet"].with_name("a.pt"), "controlnet": files["controlnet"].with_name("unet.pt")}
    for part, path in swapped.items():
        files[part].rename(path)
    store.import_files(card, [files["autoencoder"], *swapped.values()])
    assert load_networks(card, store, CPU, torch.float32).scale_factor == SCALE


def test_an_autoencoder_under_unet_state_dict_is_taken_as_the_autoencoder(
    card: ModelCard, store: ModelStore, tmp_path: Path
) -> None:
    torch.save({"unet_state_dict": random_state(card, "autoencoder")}, tmp_path / "autoencoder.pt")
    store.import_files(card, [tmp_path / "autoencoder.pt"])
    assert store.missing_parts(card) == ["unet", "controlnet"]


def test_a_diffusion_checkpoint_in_fp16_stays_fp16(card: ModelCard, store: ModelStore, tmp_path: Path) -> None:
    state = {key: value.half() for key, value in random_state(card, "unet").items()}
    torch.save(released("unet", state), tmp_path / "unet.pt")
    store.import_files(card, [tmp_path / "unet.pt"])
    assert load_file(store.file(card, "unet"))["conv_in.conv.bias"].dtype == torch.float16


def test_safetensors_written_by_the_store_can_be_imported_into_another(
    filled: ModelStore, card: ModelCard, tmp_path: Path
) -> None:
    other = ModelStore(tmp_path / "other")
    other.import_files(card, [filled.file(card, part) for part in PARTS])
    assert load_networks(card, other, CPU, torch.float32).scale_factor == SCALE


def test_a_diffusion_checkpoint_without_scale_factor_is_refused(
    card: ModelCard, store: ModelStore, tmp_path: Path
) -> None:
    torch.save(random_state(card, "unet"), tmp_path / "bare.pt")
    with pytest.raises(ModelError, match="holds no scale_factor"):
        store.import_files(card, [tmp_path / "bare.pt"])


def test_the_scale_factor_of_a_card_is_used_where_it_gives_one(store: ModelStore, tmp_path: Path) -> None:
    card = tiny_card(tmp_path / "card", latent={"channels": 4, "downsampling": 4, "scale_factor": 1.5})
    files = write_released(card, tmp_path / "released")
    torch.save(random_state(card, "unet"), files["unet"])
    store.import_files(card, files.values())
    assert load_networks(card, store, CPU, torch.float32).scale_factor == 1.5


@pytest.mark.parametrize(("change", "sentence"), [("missing", "1 missing"), ("extra", "1 unknown"), ("shape", "shape")])
def test_nothing_is_written_if_one_of_the_files_does_not_fit(
    card: ModelCard, files: dict[str, Path], store: ModelStore, change: str, sentence: str
) -> None:
    state = random_state(card, "controlnet")
    if change == "missing":
        del state["conv_in.conv.bias"]
    elif change == "extra":
        state["lora.weight"] = torch.zeros(2)
    else:
        state["conv_in.conv.bias"] = torch.zeros(3)
    torch.save({"controlnet_state_dict": state}, files["controlnet"])
    with pytest.raises(ModelError, match=sentence):
        store.import_files(card, files.values())
    assert names_in(store.folder(card)) == set()


def test_a_file_of_another_kind_is_refused(card: ModelCard, store: ModelStore, tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(2)}, tmp_path / "resnet.pt")
    with pytest.raises(ModelError, match=r"none of the networks of tiny .*'conv1\.weight'"):
        store.import_files(card, [tmp_path / "resnet.pt"])


def test_two_files_for_the_same_part_are_refused(card: ModelCard, files: dict[str, Path], store: ModelStore) -> None:
    copy = files["unet"].with_name("copy.pt")
    shutil.copy(files["unet"], copy)
    with pytest.raises(ModelError, match="both the unet"):
        store.import_files(card, [files["unet"], copy])


@pytest.mark.parametrize(("value", "half"), [(float("nan"), False), (1e6, True)])
def test_weights_that_are_or_would_become_no_numbers_are_refused(
    card: ModelCard, store: ModelStore, tmp_path: Path, value: float, half: bool
) -> None:
    state = random_state(card, "controlnet")
    state["conv_in.conv.bias"][0] = value
    torch.save({"controlnet_state_dict": state}, tmp_path / "controlnet.pt")
    with pytest.raises(ModelError, match=r"conv_in\.conv\.bias .*no finite numbers"):
        store.import_files(card, [tmp_path / "controlnet.pt"], half=half)
    assert names_in(store.folder(card)) == set()


def test_a_later_import_must_be_the_file_imported_first(
    filled: ModelStore, card: ModelCard, files: dict[str, Path], tmp_path: Path
) -> None:
    filled.import_files(card, files.values())
    changed = write_released(card, tmp_path / "changed", seed=1)
    with pytest.raises(ModelError, match="differs from the unet of tiny that was imported first"):
        filled.import_files(card, [changed["unet"]])
    filled.remove(card)
    filled.import_files(card, [changed["unet"]])
    assert filled.status(card) == "incomplete"


def test_a_published_hash_is_compared(card: ModelCard, files: dict[str, Path], store: ModelStore) -> None:
    card.files["unet"]["source"]["sha256"] = "0" * 64
    with pytest.raises(ModelError, match="not the unet published"):
        store.import_files(card, [files["unet"]])
    card.files["unet"]["source"]["sha256"] = sha256_of(files["unet"])
    store.import_files(card, [files["unet"]])


def test_a_full_disk_is_noticed_before_writing(
    card: ModelCard, files: dict[str, Path], store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    with pytest.raises(ResourceError, match="are needed"):
        store.import_files(card, files.values())
    assert names_in(store.folder(card)) == set()


def test_a_cancelled_import_leaves_only_whole_files(card: ModelCard, files: dict[str, Path], store: ModelStore) -> None:
    stages: list[str] = []
    progress = Progress(lambda event: stages.append(event.stage), lambda: "store unet.safetensors" in stages)
    with pytest.raises(Cancelled):
        store.import_files(card, files.values(), progress=progress)
    assert not any(name.endswith(".part") for name in names_in(store.folder(card)))
    assert store.status(card) == "incomplete" and "autoencoder" not in store.missing_parts(card)


def test_a_file_of_another_length_makes_the_model_damaged(filled: ModelStore, card: ModelCard) -> None:
    path = filled.file(card, "controlnet")
    path.write_bytes(path.read_bytes()[:-1])
    assert filled.status(card) == "damaged"
    with pytest.raises(ModelError, match=r"tiny is damaged .*synthct models download tiny"):
        load_networks(card, filled, CPU, torch.float32)


def test_a_changed_byte_is_found_by_verify(filled: ModelStore, card: ModelCard) -> None:
    path = filled.file(card, "controlnet")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert filled.status(card) == "ready"
    assert [finding.code for finding in filled.verify(card)] == ["model-file-damaged"]


def test_a_file_that_was_never_imported_is_not_trusted(
    card: ModelCard, files: dict[str, Path], store: ModelStore
) -> None:
    store.folder(card).mkdir(parents=True)
    save_file(random_state(card, "autoencoder"), store.file(card, "autoencoder"))
    assert store.status(card) == "damaged"
    assert [f.code for f in store.verify(card)] == ["model-file-unknown", "model-file-missing", "model-file-missing"]


def test_loading_a_missing_model_says_how_to_get_it(card: ModelCard, store: ModelStore) -> None:
    with pytest.raises(ModelError, match=r"is missing .*models download tiny.*models import --card tiny"):
        load_networks(card, store, CPU, torch.float32)


def test_a_moved_folder_still_works(filled: ModelStore, card: ModelCard, tmp_path: Path) -> None:
    filled.root.rename(tmp_path / "elsewhere")
    moved = ModelStore(tmp_path / "elsewhere")
    assert moved.status(card) == "ready" and moved.verify(card) == []
    assert str(tmp_path) not in (moved.folder(card) / "imported.json").read_text(encoding="utf-8")


def test_remove_deletes_what_was_imported_and_leaves_the_users_files(filled: ModelStore, card: ModelCard) -> None:
    note = filled.folder(card) / "my notes.txt"
    note.write_text("keep", encoding="utf-8")
    filled.accept_licence(card)
    filled.remove(card)
    assert names_in(filled.folder(card)) == {note.name}
    note.unlink()
    filled.remove(card)
    assert not filled.folder(card).exists() or names_in(filled.folder(card)) == set()


def test_the_licence_is_accepted_once(store: ModelStore, card: ModelCard) -> None:
    assert not store.licence_accepted(card)
    store.accept_licence(card)
    assert ModelStore(store.root).licence_accepted(card)


def embedded_card(folder: Path) -> ModelCard:
    card = tiny_card(folder)
    data = card.to_json() | {"embedded": True}
    for part in PARTS:
        path = folder / f"{part}.safetensors"
        metadata = {"scale_factor": str(SCALE)} if part == "unet" else None
        save_file(random_state(card, part), path, metadata=metadata)
        data["files"][part] = {
            "name": path.name,
            "sha256": sha256_of(path),
            "bytes": path.stat().st_size,
            "source": None,
        }
    return tiny_card(folder, **data)


def test_an_embedded_model_is_served_from_beside_its_card(store: ModelStore, tmp_path: Path) -> None:
    card = embedded_card(tmp_path / "embedded")
    assert store.status(card) == "ready" and store.verify(card) == []
    assert load_networks(card, store, CPU, torch.float32).scale_factor == SCALE
    assert store.hashes(card)["unet"] == sha256_of(tmp_path / "embedded" / "unet.safetensors")


def test_an_embedded_model_cannot_be_removed_or_replaced(store: ModelStore, tmp_path: Path) -> None:
    card = embedded_card(tmp_path / "embedded")
    with pytest.raises(ModelError, match="cannot be removed"):
        store.remove(card)
    with pytest.raises(ModelError, match="needs no import"):
        store.import_files(card, [tmp_path / "embedded" / "unet.safetensors"])
    assert store.status(card) == "ready"


def test_a_damaged_record_makes_the_model_damaged_and_a_new_import_mends_it(
    filled: ModelStore, card: ModelCard, files: dict[str, Path]
) -> None:
    (filled.folder(card) / "imported.json").write_text("{", encoding="utf-8")
    assert filled.status(card) == "damaged"
    filled.import_files(card, files.values())
    assert filled.status(card) == "ready"
    assert set(json.loads((filled.folder(card) / "imported.json").read_text(encoding="utf-8"))["files"]) == set(PARTS)
