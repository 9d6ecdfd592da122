"""The volumes that all methods learn from and are judged on: one collection on one small grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from SynthCTLib.errors import InputError
from SynthCTLib.model_files import sha256_of
from training.config import Config
from training.encode import mirror_table, resample
from training.files import save_arrays
from training.metrics.slices import to_unit
from training.prepare import read_cases
from training.scans import Scan

AIR = -1000


def on_grid(
    hu: np.ndarray, mask: np.ndarray, spacing: np.ndarray, target: np.ndarray, shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """(HU int16, mask uint8) of ``shape`` with voxels of ``target`` mm around the middle of the volume.

    What sticks out is cut, what is missing is air, and so is everything outside the body.
    """
    hu = np.where(mask == 0, AIR, hu).astype(np.float32)
    hu, mask = resample(hu, mask, spacing, target)
    for axis, size in enumerate(shape):
        n = hu.shape[axis]
        first, before = max(0, (n - size) // 2), max(0, (size - n) // 2)
        hu, mask = (np.take(a, range(first, first + min(n, size)), axis) for a in (hu, mask))
        pads = [(0, 0)] * 3
        pads[axis] = (before, size - before - min(n, size))
        hu, mask = np.pad(hu, pads, constant_values=AIR), np.pad(mask, pads)
    return np.clip(np.rint(hu), -1000, 1000).astype(np.int16), mask.astype(np.uint8)


def read_volumes(config: Config, split: str) -> list[Scan]:
    """The cases of the config's ``group`` and of a split on the config's grid; kept in the run folder.

    Raises:
        InputError: there are none.
    """
    shape, spacing = config["grid"]["shape"], config["grid"]["spacing"]
    folder = Path(config["run"]) / "volumes" / f"{'x'.join(map(str, shape))}-{'x'.join(map(str, spacing))}"
    scans = []
    for meta in read_cases(config["prepared"], split):
        if meta["group"] != config["group"]:
            continue
        source = Path(config["prepared"]) / meta["case_id"]
        content = "-".join(sha256_of(source / name)[:12] for name in ("ct.npy", "mask.npy"))
        path = folder / f"{meta['case_id']}-{content}.npz"
        if not path.is_file():
            hu, mask = np.load(source / "ct.npy"), np.load(source / "mask.npy")
            hu, mask = on_grid(hu, mask, np.asarray(meta["spacing"]), np.asarray(spacing), tuple(shape))
            save_arrays(path, hu=hu, mask=mask)
        with np.load(path) as stored:
            scans.append(Scan(meta["case_id"], stored["hu"], stored["mask"], tuple(spacing), meta["group"]))
    if not scans:
        raise InputError(f"{config['prepared']} has no '{split}' cases of '{config['group']}': run 'prepare' first.")
    return scans


@dataclass(frozen=True)
class Volumes:
    """Training volumes: ``unit`` (n, 1, X, Y, Z) in 0…1, ``mask`` (n, X, Y, Z) uint8; the second half is mirrored."""

    unit: torch.Tensor
    mask: torch.Tensor

    def draw(self, rng: np.random.Generator, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Volumes and masks of ``count`` different ones."""
        chosen = torch.from_numpy(rng.choice(len(self.unit), count, replace=False))
        return self.unit[chosen], self.mask[chosen]


def training_volumes(scans: list[Scan], device: torch.device) -> Volumes:
    """All scans, which must have masks, as they are and mirrored."""
    hu = np.stack([scan.hu for scan in scans])
    mask = np.stack([scan.mask for scan in scans if scan.mask is not None])
    hu, mask = np.concatenate([hu, hu[:, ::-1]]), np.concatenate([mask, mirror_table()[mask[:, ::-1]]])
    return Volumes(to_unit(torch.from_numpy(hu).float())[:, None].to(device), torch.from_numpy(mask).to(device))
