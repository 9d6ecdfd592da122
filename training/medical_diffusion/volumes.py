"""Whole volumes for the Medical Diffusion family: one grid for all, values in [−1, 1], kept on the disk once made."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from SynthCTLib.errors import InputError
from SynthCTLib.volume import Volume
from training.config import Config
from training.intensities import modality_of
from training.prepare import read_cases
from training.regrid import regrid


def normalize(array: np.ndarray, intensity: Config) -> np.ndarray:
    """(X, Y, Z) → [−1, 1] float32.

    ``{"window": [low, high]}`` maps a fixed range of HU, so that a gray value means one density in all volumes.
    ``{"min_max": true}`` maps each volume's own minimum and maximum, as in the paper: for MR, which has no unit.

    Raises InputError for anything else and for a constant volume that has no range.
    """
    if intensity.get("window"):
        low, high = intensity["window"]
    elif intensity.get("min_max"):
        low, high = float(array.min()), float(array.max())
    else:
        raise InputError("volumes.intensity must be {'window': [low, high]} in HU or {'min_max': true}.")
    if high <= low:
        raise InputError(f"Values from {low:g} to {high:g} cannot be mapped to [-1, 1]; give another range.")
    return (np.clip((array.astype(np.float32) - low) / (high - low), 0, 1) * 2 - 1).astype(np.float32)


def make_volume(image: Volume, settings: Config) -> Volume:
    """The image on the grid of ``settings.transform``, normalized. What lies outside gets the image's minimum."""
    moved, _ = regrid(image, [], settings["transform"], fill=float(image.array.min()))
    return moved.with_array(normalize(moved.array, settings["intensity"]))


class VolumeSet:
    """The volumes of one split as tensors (1, depth, height, width).

    Settings (``volumes``): ``transform`` as in a recipe, ``intensity``, ``depth_axis`` (0, 1 or 2 of X, Y, Z: the one
    across the slices), ``flip_axis`` (mirrored with p = 0.5 in training; null: never), ``groups`` (null: all).

    Raises InputError when there are none, or when they come out in different sizes.
    """

    def __init__(self, config: Config, split: str) -> None:
        self.settings = dict(config["volumes"])
        prepared, groups = Path(config["prepared"]), self.settings["groups"]
        self.cases = [meta for meta in read_cases(prepared, split) if groups is None or meta["group"] in groups]
        if not self.cases:
            raise InputError(f"There are no volumes of split '{split}' in {prepared}; a stage needs train and val.")
        folder = Path(config["run"]) / "volumes"
        self.paths = [_kept(folder, prepared, meta, self.settings) for meta in self.cases]
        shapes = {np.load(path, mmap_mode="r").shape for path in self.paths}
        if len(shapes) > 1:
            raise InputError(
                f"The volumes have different sizes {sorted(shapes)}; give volumes.transform a crop or resize."
            )

    def __len__(self) -> int:
        return len(self.paths)

    def array(self, number: int, flip: bool = False) -> np.ndarray:
        """Volume ``number``, (X, Y, Z) float32 in [−1, 1], mirrored along ``flip_axis`` if asked."""
        array = np.load(self.paths[number]).astype(np.float32)
        return np.flip(array, self.settings["flip_axis"]) if flip else array

    def tensor(self, number: int, flip: bool = False) -> torch.Tensor:
        """(1, depth, height, width)."""
        moved = np.moveaxis(self.array(number, flip), self.settings["depth_axis"], 0)
        return torch.from_numpy(np.ascontiguousarray(moved))[None]

    def batch(self, size: int, rng: np.random.Generator) -> torch.Tensor:
        """(size, 1, depth, height, width): volumes at random, mirrored half of the time."""
        may_flip = self.settings["flip_axis"] is not None
        chosen = rng.integers(len(self), size=size)
        return torch.stack([self.tensor(int(n), may_flip and bool(rng.random() < 0.5)) for n in chosen])


def _key(source: Path, meta: dict, settings: Config) -> str:
    """Changes with what a kept volume depends on: place, size, date and affine of the prepared case, and settings."""
    file = source.stat()
    case = [str(source.resolve()), file.st_size, file.st_mtime_ns, meta["affine"]]
    text = json.dumps([case, settings["transform"], settings["intensity"]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _kept(folder: Path, prepared: Path, meta: dict, settings: Config) -> Path:
    """The file of a volume in half precision, made from the prepared case if it is not there yet."""
    source = prepared / meta["case_id"] / f"{modality_of(meta)}.npy"
    path = folder / _key(source, meta, settings) / f"{meta['case_id']}.npy"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Volume(np.load(source).astype(np.float32), np.array(meta["affine"]))
        made = make_volume(image, settings)
        part = path.with_name(path.name + ".part")
        with part.open("wb") as file:
            np.save(file, made.array.astype(np.float16))
        part.replace(path)
    return path
