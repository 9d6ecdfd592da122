"""Files that are complete or absent: everything is written beside its final name, then renamed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, and the folder it is in, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def save_arrays(path: Path, **arrays: Any) -> None:
    """Write arrays as a compressed ``.npz``, atomically."""
    _save_arrays(np.savez_compressed, path, arrays)


def save_array(path: Path, array: np.ndarray) -> None:
    """Write an ``.npy`` atomically; a file that shares its data with the old one (hard link) keeps it."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.save(file, array)
    part.replace(path)


def load_array(path: Path) -> np.ndarray | None:
    """An ``.npy``; None where it is absent or damaged and has to be made anew."""
    try:
        return np.load(path)
    except (OSError, ValueError, EOFError):
        return None


def save_latent(path: Path, **arrays: Any) -> None:
    """Write arrays as an ``.npz`` that is read often and hardly shrinks, atomically and without compression."""
    _save_arrays(np.savez, path, arrays)


def _save_arrays(write: Callable[..., None], path: Path, arrays: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        write(file, **arrays)
    part.replace(path)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint (tensors and plain values only) atomically; a kill leaves the previous one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    torch.save(state, part)
    part.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint without executing pickled code; None where there is none yet."""
    if not path.is_file():
        return None
    return torch.load(path, map_location="cpu", weights_only=True)
