"""The TotalSegmentator data set: ``s0001/ct.nii.gz``, ``s0001/segmentations/<structure>.nii.gz`` and ``meta.csv``.

The split of ``meta.csv`` (separated by semicolons) is kept. A structure of an empty mask is absent, not unlabeled; both
are 0 here.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

from training.config import Config
from training.sources.case import Case, Found, LeftOut
from training.sources.images import image_case


def find(root: Path, settings: Config) -> Found:
    """One case per subject folder, in the order of their names."""
    splits = _splits(root / "meta.csv")
    for folder in sorted(path for path in root.glob("s*") if path.is_dir()):
        image, masks = folder / "ct.nii.gz", folder / "segmentations"
        if not image.is_file():
            yield LeftOut(folder.name, "no ct.nii.gz")
            continue
        if not masks.is_dir():
            yield LeftOut(folder.name, "no folder 'segmentations'")
            continue
        case = image_case(root, image, [masks], settings)
        yield replace(case, split=splits.get(folder.name)) if isinstance(case, Case) else case


def _splits(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8-sig") as handle:
        return {row["image_id"]: row["split"] for row in csv.DictReader(handle, delimiter=";") if row.get("split")}
