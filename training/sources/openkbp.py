"""OpenKBP: sparse tables on a grid of 128³ voxels, ``train-pats|validation-pats|test-pats/pt_<n>/<name>.csv``.

A table has a header and rows *flat index, value* (masks without value); the index counts in C order over axes toward
posterior, left and inferior (from the parotids, mandible, cord, brainstem and esophagus of the published cases). CT
values are HU + 1000, absent voxels are air. The scanner's origin is not given: the center of the grid is 0.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from SynthCTLib.errors import InputError
from SynthCTLib.volume import Volume
from training.config import Config
from training.sources.case import Case, Found, LeftOut, Reading
from training.sources.labels import compose, label_ids

SIDE = 128
_SPLITS = {"train-pats": "train", "validation-pats": "val", "test-pats": "test"}
_NO_STRUCTURES = {"ct", "dose", "possible_dose_mask", "voxel_dimensions", "PTV56", "PTV63", "PTV70"}


def find(root: Path, settings: Config) -> Found:
    """One case per patient folder below ``root``; the split of the set is kept."""
    for folder in sorted(path for path in root.rglob("pt_*") if path.is_dir()):
        missing = [name for name in ("ct", "voxel_dimensions") if not (folder / f"{name}.csv").is_file()]
        if missing:
            yield LeftOut(folder.name, f"no {missing[0]}.csv")
            continue
        files = tuple(sorted(folder.glob("*.csv")))
        read = partial(_read, folder, settings)
        yield Case(folder.name, folder.name, files, read, split=_SPLITS.get(folder.parent.name))


def _read(folder: Path, settings: Config) -> Reading:
    affine = _affine(folder / "voxel_dimensions.csv")
    indices, values = _table(folder / "ct.csv")
    hu = np.full(SIDE**3, -1000.0, np.float32)
    hu[indices] = values - 1000
    names = [p.stem for p in sorted(folder.glob("*.csv")) if p.stem not in _NO_STRUCTURES]
    extra_ids = settings.get("extra_labels", {})
    ids, notes = label_ids([name for name in names if name not in extra_ids], settings.get("labels"))
    labels, overlaps = compose(((ids[name], _mask(folder, name)) for name in names if ids.get(name)), affine)
    extra = np.zeros((SIDE,) * 3, np.uint8)
    for name in names:
        if name in extra_ids:
            extra[_mask(folder, name)] = extra_ids[name]
    image = Volume(hu.reshape((SIDE,) * 3), affine)
    return Reading(image, labels, Volume(extra, affine) if extra.any() else None, notes + overlaps)


def _mask(folder: Path, name: str) -> np.ndarray:
    mask = np.zeros(SIDE**3, bool)
    mask[_table(folder / f"{name}.csv")[0]] = True
    return mask.reshape((SIDE,) * 3)


def _table(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(flat indices, values; NaN where a row has none). Raises InputError."""
    try:
        data = np.genfromtxt(path, delimiter=",", skip_header=1, ndmin=2)
        indices, values = data[:, 0].astype(int), data[:, 1]
    except (OSError, ValueError, IndexError) as error:
        raise InputError(
            f"{path.parent.name}/{path.name} is no table of index and value; download it again."
        ) from error
    if indices.size and not (indices.min() >= 0 and indices.max() < SIDE**3):
        raise InputError(f"{path.parent.name}/{path.name} has an index outside of {SIDE}³ voxels; download it again.")
    return indices, values


def _affine(path: Path) -> np.ndarray:
    """Axes toward posterior, left, inferior; ``path`` has one spacing in mm per line."""
    try:
        spacing = np.loadtxt(path).reshape(3)
    except (OSError, ValueError) as error:
        raise InputError(f"{path.parent.name}/{path.name} does not hold three voxel sizes.") from error
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, -1, 0], [-1, 0, 0], [0, 0, -1]]) * spacing
    affine[:3, 3] = -affine[:3, :3] @ np.full(3, (SIDE - 1) / 2)
    return affine
