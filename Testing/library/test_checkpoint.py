"""Checkpoint files: every released layout is read, nothing in them is executed, and what does not fit is named."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from SynthCTLib.checkpoint import check_state, closest_part, read_checkpoint
from SynthCTLib.errors import ModelError

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}
SHAPES = {"a.weight": (2, 3), "a.bias": (2,)}


class Bomb:
    """Pickles into a call that creates a file when it is loaded by an ordinary unpickler."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def saved(folder: Path, content: Any, **options: Any) -> Path:
    path = folder / "file.pt"
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("wrapper", ["unet_state_dict", "controlnet_state_dict", "autoencoder_state_dict", None])
def test_weights_are_found_bare_and_in_every_released_wrapping(tmp_path: Path, wrapper: str | None) -> None:
    content = STATE if wrapper is None else {"epoch": 3, "loss": 0.5, wrapper: STATE, "optimizer": {"state": {}}}
    checkpoint = read_checkpoint(saved(tmp_path, content))
    assert list(checkpoint.state) == list(STATE)
    assert torch.equal(checkpoint.state["a.weight"], STATE["a.weight"])
    assert checkpoint.scale_factor is None


@pytest.mark.parametrize(
    "value", [torch.tensor(0.75), torch.tensor(0.75, dtype=torch.float16), torch.tensor([0.75]), 0.75]
)
def test_the_scale_factor_is_a_number_whatever_it_was_stored_as(tmp_path: Path, value: Any) -> None:
    assert read_checkpoint(saved(tmp_path, {"unet_state_dict": STATE, "scale_factor": value})).scale_factor == 0.75


@pytest.mark.parametrize("value", [float("nan"), -1.0, 0.0, torch.ones(2), "large"])
def test_a_scale_factor_that_is_no_positive_number_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ModelError, match="no positive number"):
        read_checkpoint(saved(tmp_path, {"unet_state_dict": STATE, "scale_factor": value}))


def test_a_file_in_pytorchs_old_format_is_read(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(saved(tmp_path, STATE, _use_new_zipfile_serialization=False))
    assert torch.equal(checkpoint.state["a.bias"], STATE["a.bias"])


def test_safetensors_are_read_with_the_scale_factor_of_their_metadata(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "unet.safetensors", metadata={"scale_factor": "0.75"})
    checkpoint = read_checkpoint(tmp_path / "unet.safetensors")
    assert torch.equal(checkpoint.state["a.weight"], STATE["a.weight"])
    assert checkpoint.scale_factor == 0.75


@pytest.mark.parametrize("place", ["weights", "beside", "whole"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_file_is_refused_and_its_code_never_runs(tmp_path: Path, place: str, zipped: bool) -> None:
    proof = tmp_path / "code-has-run"
    bomb = Bomb(proof)
    content = {"weights": STATE | {"x": bomb}, "beside": {"unet_state_dict": STATE, "optimizer": bomb}, "whole": bomb}
    path = saved(tmp_path, content[place], _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match="was refused"):
        read_checkpoint(path)
    assert not proof.exists()
    pickle.loads(pickle.dumps(bomb))  # the bomb is a real one
    assert proof.exists()


def test_a_bare_pickle_is_refused_and_the_object_named(tmp_path: Path) -> None:
    proof = tmp_path / "code-has-run"
    (tmp_path / "file.pt").write_bytes(pickle.dumps(Bomb(proof), protocol=2))
    with pytest.raises(ModelError, match="refused"):
        read_checkpoint(tmp_path / "file.pt")
    assert not proof.exists()


def test_the_refusal_is_one_sentence_that_names_the_object(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        read_checkpoint(saved(tmp_path, {"x": Bomb(tmp_path / "never")}))
    assert "could run code" in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, STATE)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match="get"):
        read_checkpoint(path)


def test_a_zip_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "file.pt", "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(ModelError, match="no readable PyTorch checkpoint"):
        read_checkpoint(tmp_path / "file.pt")


@pytest.mark.parametrize("content", [b"", b"Not found", b"<html>sign in</html>", b"version https://git-lfs.github.com"])
def test_a_web_page_or_pointer_saved_as_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file.pt").write_bytes(content)
    with pytest.raises(ModelError, match="get"):
        read_checkpoint(tmp_path / "file.pt")


def test_a_tensor_that_claims_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, {"a": torch.zeros(1000)})
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    data = next(name for name in entries if name.endswith("data/0"))
    entries[data] = entries[data][:8]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, value in entries.items():
            archive.writestr(name, value)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(ModelError):
        read_checkpoint(path)


def test_damaged_safetensors_are_refused(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "unet.safetensors")
    content = (tmp_path / "unet.safetensors").read_bytes()
    (tmp_path / "unet.safetensors").write_bytes(content[:-4])
    with pytest.raises(ModelError, match="no readable safetensors"):
        read_checkpoint(tmp_path / "unet.safetensors")


@pytest.mark.parametrize("content", [[1, 2], {}, {"a": 1, "b": "text"}, {"a": torch.ones(2, dtype=torch.int64)}])
def test_a_safe_file_that_holds_no_weights_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(ModelError, match=r"as (it was )?released"):
        read_checkpoint(saved(tmp_path, content))


def test_a_missing_file_is_said() -> None:
    with pytest.raises(ModelError, match="There is no file"):
        read_checkpoint("nowhere.pt")


def test_a_state_that_fits_passes() -> None:
    check_state(STATE, SHAPES)


def test_missing_unknown_and_misshapen_weights_are_counted_and_the_first_few_named() -> None:
    state = {"a.weight": torch.zeros(3, 2)} | {f"new{i}": torch.zeros(1) for i in range(5)}
    with pytest.raises(ModelError) as caught:
        check_state(state, SHAPES, "file.pt")
    sentence = str(caught.value)
    assert sentence.startswith("file.pt does not fit: of 2 weights, 1 missing (a.bias), ")
    assert "5 unknown (new0, new1, new2, …)" in sentence
    assert "1 of another shape (a.weight is 3×2, not 2×3)" in sentence


def test_a_files_part_is_told_by_its_keys_even_if_some_are_missing() -> None:
    expected = {"one": dict.fromkeys("abcdef"), "two": dict.fromkeys("abcxyz")}
    assert closest_part(dict.fromkeys("abcde"), expected) == "one"
    assert closest_part(dict.fromkeys("abcxy"), expected) == "two"
    assert closest_part(dict.fromkeys("klm"), expected) is None
