"""MRNet: the provider's arrays, ``train|valid/sagittal/<number>.npy`` of (slices, 256, 256) bytes.

The arrays say neither spacing nor side: ``spacing`` (mm between slices, rows, columns) comes from the settings, and the
first slice is taken as the leftmost. Rows run downward and columns to the back, as sagittal knees are shown. Exams of
one patient cannot be told apart from others; the split of the set, which keeps them together, is used.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from SynthCTLib.errors import InputError
from SynthCTLib.findings import Finding
from SynthCTLib.volume import Volume
from training.config import Config
from training.sources.case import Case, Found, LeftOut, Reading

_SPLITS = {"train": "train", "valid": "val"}
PLANE = (256, 256)  # rows and columns of each slice, as the provider has cut them


def find(root: Path, settings: Config) -> Found:
    """One case per array of the plane that is used. Raises InputError for a folder without any."""
    spacing = settings.get("spacing")
    if not spacing or len(spacing) != 3 or min(spacing) <= 0:
        raise InputError("MRNet's arrays have no spacing: give 'spacing' (mm between slices, rows, columns).")
    folders = [root / split / "sagittal" for split in _SPLITS]
    if not any(folder.is_dir() for folder in folders):
        raise InputError(f"{root} has neither train/sagittal nor valid/sagittal; give MRNet's folder MRNet-v1.0.")
    for split, folder in zip(_SPLITS.values(), folders, strict=True):
        for path in sorted(folder.glob("*.npy")):
            case = f"{folder.parent.name}_{path.stem}"
            if not path.stem.isdecimal():
                yield LeftOut(case, "its name is no exam number")
                continue
            yield Case(case, case, (path,), partial(_read, path, spacing), split=split)


def _read(path: Path, spacing: list[float]) -> Reading:
    """Axes toward right, posterior, inferior: slice, column, row of the array. Raises InputError."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name} is no array that can be read ({error}); get it again.") from error
    if array.ndim != 3 or array.dtype.kind not in "uif":
        raise InputError(f"{path.name} is no stack of slices but {array.dtype} of shape {array.shape}.")
    if array.shape[1:] != PLANE:
        rows, columns = PLANE
        text = f"{path.name} has the shape {array.shape}; MRNet's arrays are (slices, {rows}, {columns}): get it again."
        raise InputError(text)
    turned = array.transpose(0, 2, 1)
    affine = np.diag([spacing[0], -spacing[2], -spacing[1], 1.0])
    affine[:3, 3] = -affine[:3, :3] @ (np.array(turned.shape) - 1) / 2
    text = "Spacing is nominal and the side is not known: MRNet's arrays do not say them."
    return Reading(Volume(turned, affine), notes=[Finding("info", "nominal-grid", text)])
