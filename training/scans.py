"""CTs to be judged, real or made, and the held-out cases that they are judged on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.config import Config
from training.encode import pad_with_air, resample
from training.prepare import read_cases


@dataclass(frozen=True)
class Scan:
    """A CT: int16 HU (X, Y, Z) in RAS, spacing in mm, its label map in MAISI ids or None.

    ``name`` is the case that it shows or was made from; ``group`` tells which scans show the same part of the body.
    """

    name: str
    hu: np.ndarray
    mask: np.ndarray | None
    spacing: tuple[float, float, float]
    group: str = ""


def choose_cases(config: Config, split: str) -> list[dict]:
    """The first n cases of each group in ``evaluate.cases``; groups not named there count as ``other``."""
    wanted = dict(config["evaluate"]["cases"])
    chosen = []
    for meta in read_cases(config["prepared"], split):
        group = meta["group"] if meta["group"] in wanted else "other"
        if wanted.get(group, 0) > 0:
            wanted[group] -= 1
            chosen.append(meta)
    return chosen


def on_model_grid(config: Config, meta: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(HU int16 with air outside the body, mask uint8, spacing mm) of a case, padded to multiples of 16."""
    folder = Path(config["prepared"]) / meta["case_id"]
    hu, mask = np.load(folder / "ct.npy").astype(np.float32), np.load(folder / "mask.npy")
    hu[mask == 0] = -1000
    native = np.asarray(meta["spacing"])
    target = (
        native
        if meta["group"] in config["encode"]["native"]
        else np.maximum(config["evaluate"]["spacing"], 0.9 * native)
    )
    hu, mask = resample(hu, mask, native, target)
    hu, mask = pad_with_air(hu, mask, np.array([4, 4, 0]), 48)
    return np.clip(np.rint(hu), -1000, 1000).astype(np.int16), mask, target


def real_scan(config: Config, meta: dict) -> Scan:
    """A prepared case on the model's grid."""
    hu, mask, spacing = on_model_grid(config, meta)
    x, y, z = (float(s) for s in spacing)
    return Scan(meta["case_id"], hu, mask, (x, y, z), meta["group"])


def training_scans(config: Config) -> Iterator[Scan]:
    """All training cases on the model's grid, one after the other."""
    for meta in read_cases(config["prepared"], "train"):
        yield real_scan(config, meta)
