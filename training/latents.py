"""The latents that the stage *encode* wrote, one split of them, read when they are first needed."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SynthCTLib.errors import InputError
from SynthCTLib.model_files import sha256_of
from training.prepare import read_cases

INDEX, COMPLETE = "index.json", "complete"
"""File that lists the latents, and its entry that is false while the stage *encode* writes them anew."""

KEPT_IN_MEMORY = 4 * 2**30
"""Bytes of volumes that a process keeps; the least recently used ones are read again from disk."""

Volume = tuple[np.ndarray, np.ndarray, np.ndarray]
"""(latent (C, x, y, z) float16, mask (4x, 4y, 4z) uint8, spacing of the mask (3,) in mm)."""


@dataclass(frozen=True)
class Entry:
    """One encoded volume. ``shape``: of the latent. ``region``: names of the body regions stated for the case."""

    path: Path
    case: str
    kind: str
    shape: tuple[int, int, int]
    modality: str
    region: tuple[str, ...]


class LatentSet:
    """The volumes of one split and the factor that scales latents to unit variance."""

    def __init__(self, entries: Sequence[Entry], scale_factor: float, limit: int = KEPT_IN_MEMORY) -> None:
        self.entries, self.scale_factor, self.limit = tuple(entries), scale_factor, limit
        self._kept: OrderedDict[Path, Volume] = OrderedDict()
        self._bytes = 0

    def read(self, entry: Entry) -> Volume:
        """The volume of an entry."""
        volume = self._kept.pop(entry.path, None)
        if volume is None:
            volume = _read(entry.path)
            self._bytes += _size(volume)
        self._kept[entry.path] = volume
        while self._bytes > self.limit and len(self._kept) > 1:
            self._bytes -= _size(self._kept.popitem(last=False)[1])
        return volume


def read_index(run: Path) -> dict[str, Any]:
    """The list of the latents in a run folder, with their scale factor.

    Raises InputError where there is none yet, where encoding has not come to its end, or where the latents are not of
    the run's present autoencoder. Which autoencoder that was is not compared where index or run folder do not tell.
    """
    path = run / "latents" / INDEX
    if not path.is_file():
        raise InputError(f"There are no latents in {path.parent} yet: run the stage 'encode' first.")
    index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if not index.get(COMPLETE, True):
        raise InputError(f"The latents in {path.parent} are not complete: run the stage 'encode' to its end.")
    autoencoder = run / "autoencoder.pt"
    if "autoencoder" in index and autoencoder.is_file() and index["autoencoder"] != sha256_of(autoencoder):
        raise InputError(
            f"The latents in {path.parent} are of another autoencoder than {autoencoder}, which was trained since: run "
            "the stage 'encode' again."
        )
    return index


def read_latents(run: Path, prepared: Path, split: str, channels: int) -> LatentSet:
    """The encoded volumes of ``split`` ("train" or "val") in a run folder.

    Args:
        channels: latent channels that the network expects.

    Raises InputError where :func:`read_index` does, the split is empty, or the latents have other channels.
    """
    folder = run / "latents"
    index = read_index(run)
    regions = _stated_regions(prepared, split)
    entries = tuple(_entry(folder, entry, regions) for entry in index["latents"] if entry["split"] == split)
    if not entries:
        raise InputError(f"None of the latents in {folder} is of the split '{split}'; prepare and encode some.")
    found = _read(entries[0].path)[0].shape[0]
    if found != channels:
        raise InputError(
            f"The latents in {folder} have {found} channels and network.unet.in_channels is {channels}; encode "
            "them again with the autoencoder of this config, or correct the config."
        )
    return LatentSet(entries, float(index["scale_factor"]))


def _read(path: Path) -> Volume:
    with np.load(path) as data:
        return data["latent"], data["mask"], data["spacing"]


def _size(volume: Volume) -> int:
    return sum(array.nbytes for array in volume)


def _entry(folder: Path, values: dict[str, Any], regions: dict[str, tuple[str, ...]]) -> Entry:
    path = folder / values["file"]
    shape = values["shape"] if "shape" in values else _read(path)[0].shape[1:]
    case = values.get("case_id", path.stem)
    x, y, z = (int(n) for n in shape)
    return Entry(path, case, values["kind"], (x, y, z), values.get("modality", "ct"), regions.get(case, ()))


def _stated_regions(prepared: Path, split: str) -> dict[str, tuple[str, ...]]:
    """Body regions by case, in the order from head to pelvis; empty where the prepared cases are not at hand."""
    if not (prepared / "cases.json").is_file():
        return {}
    return {meta["case_id"]: tuple(meta.get("region", ())) for meta in read_cases(prepared, split)}
