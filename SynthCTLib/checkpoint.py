"""Reads checkpoints as they are released, without executing pickled code, and checks every key and shape.

Layouts (NVIDIA NV-Generate-CT): diffusion ``{epoch, loss, num_train_timesteps, scale_factor, unet_state_dict}``,
ControlNet ``{epoch, loss, controlnet_state_dict}``, autoencoder bare or under ``unet_state_dict``; any of them may also
hold an optimizer's state, which is ignored. Safetensors files are read too.
"""

from __future__ import annotations

import math
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from SynthCTLib.errors import ModelError

WRAPPERS = ("unet_state_dict", "controlnet_state_dict", "autoencoder_state_dict", "state_dict")
SCALE_FACTOR = "scale_factor"
NAMED = 3  # that many keys are named in a sentence; the rest is counted


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds: weights by key, and the latent scale factor where there is one."""

    state: dict[str, torch.Tensor]
    scale_factor: float | None


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a ``.pt``/``.pth`` or ``.safetensors`` file; weights stay mapped from disk where the format allows it.

    Raises:
        ModelError: no such file, not a checkpoint, damaged, or it holds objects other than tensors and plain values
            (which are refused unread, since loading them could run code).
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"There is no file {path}; check the path of the checkpoint.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = _unpickle(path)
    wrapper = next((key for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
    weights = dict(content[wrapper]) if wrapper else dict(content)
    scale = content[SCALE_FACTOR] if wrapper and SCALE_FACTOR in content else weights.pop(SCALE_FACTOR, None)
    strangers = [str(key) for key, value in weights.items() if not isinstance(key, str) or not _is_weight(value)]
    if strangers or not weights:
        found = f"it holds {_some(strangers)}" if strangers else "it is empty"
        raise ModelError(f"{path.name} is no checkpoint that SynthCT knows ({found}); use the file as it was released.")
    return Checkpoint(weights, _scale_factor(scale, path))


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no iterator)
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path.name} is no readable safetensors file ({error}); get it again.") from error
    return Checkpoint(state, _scale_factor(state.pop(SCALE_FACTOR, metadata.get(SCALE_FACTOR)), path))


def _unpickle(path: Path) -> Mapping[str, Any]:
    """``torch.load`` restricted to tensors and plain values; anything else becomes a sentence."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        foreign = re.search(r"GLOBAL ([\w.]+)", str(error))
        if foreign:
            raise ModelError(
                f"{path.name} was refused: it contains the Python object '{foreign[1]}', which could run code when "
                "loaded; get the file again from its publisher."
            ) from error
        raise ModelError(
            f"{path.name} was refused: it is no PyTorch checkpoint that can be read safely; get the file again from "
            "its publisher."
        ) from error
    except Exception as error:  # the file is untrusted: whatever the reader trips over, the answer is the same
        raise ModelError(f"{path.name} is no readable PyTorch checkpoint; perhaps cut short: get it again.") from error
    if not isinstance(content, Mapping):
        raise ModelError(f"{path.name} holds a {type(content).__name__} and no checkpoint; use the file as released.")
    return content


def _is_weight(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.layout == torch.strided and value.is_floating_point()


def _scale_factor(value: Any, path: Path) -> float | None:
    """The latent scale factor as a number; the released files hold a tensor, in some of them fp16."""
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise ModelError(f"The scale_factor in {path.name} is no positive number; use the file as it was released.")
    return number


def closest_part(state: Mapping[str, Any], expected: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Which part of the model these keys belong to: the one that shares most of them; None if none shares any."""
    keys = set(state)

    def share(part: str) -> float:
        known = set(expected[part])
        return len(keys & known) / len(keys | known)

    best = max(expected, key=share)
    return best if share(best) > 0 else None


def check_state(
    state: Mapping[str, torch.Tensor], expected_shapes: Mapping[str, tuple[int, ...]], what: str = "The checkpoint"
) -> None:
    """Check that ``state`` has exactly the expected keys and shapes.

    Raises:
        ModelError: names the first few keys that are missing, unknown, or of another shape.
    """
    missing = [key for key in expected_shapes if key not in state]
    extra = [key for key in state if key not in expected_shapes]
    misshapen = [
        f"{key} is {_size(state[key].shape)}, not {_size(shape)}"
        for key, shape in expected_shapes.items()
        if key in state and tuple(state[key].shape) != tuple(shape)
    ]
    problems = [
        f"{len(found)} {word} ({_some(found)})"
        for word, found in (("missing", missing), ("unknown", extra), ("of another shape", misshapen))
        if found
    ]
    if problems:
        raise ModelError(
            f"{what} does not fit: of {len(expected_shapes)} weights, {', '.join(problems)}; check that the file "
            "belongs to this model and version."
        )


def _size(shape: Any) -> str:
    return "×".join(str(n) for n in shape) or "a single number"


def _some(names: list[str]) -> str:
    """The first few names, shortened: they come from an untrusted file and end up in a sentence."""
    shown = ", ".join(name if len(name) <= 120 else name[:117] + "…" for name in names[:NAMED])
    return shown + (", …" if len(names) > NAMED else "")
