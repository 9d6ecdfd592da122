"""The same volumes and folds as files for MONAI's Auto3DSeg, which trains its own networks on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from training.config import Config
from training.downstream.cases import LabeledVolume
from training.files import write_json

VALIDATION, TRAINING = 0, 1
"""Values of ``fold`` in a datalist: Auto3DSeg's fold 0 is validated on the first and trained on the second."""


def write_auto3dseg(volumes: dict[str, dict[str, LabeledVolume]], folds: dict[str, int], config: Config) -> None:
    """Write ``<run>/auto3dseg``: images, labels, and a datalist for each test fold and arm.

    ``volumes``: ``real`` and ``synthetic`` by patient; ``folds``: patient → test fold. The fold after the test fold is
    for validation, with its real CTs only. A datalist's ``testing`` has labels, which Auto3DSeg leaves unread.
    """
    root = Path(config["run"]) / "auto3dseg"
    for source, by_patient in volumes.items():
        for patient, volume in by_patient.items():
            _write(root / source / f"{patient}.nii.gz", volume.hu, volume.spacing)
            _write(root / "labels" / f"{patient}.nii.gz", volume.classes, volume.spacing)
    for arm, sources in config["arms"].items():
        for test in range(config["folds"]):
            write_json(root / f"fold {test}, {arm}.json", _datalist(sources, folds, test, config["folds"]))


def _datalist(sources: Sequence[str], folds: dict[str, int], test: int, count: int) -> dict[str, list[dict]]:
    validated = (test + 1) % count
    training = [
        _item(source, patient) | {"fold": TRAINING}
        for source in sources
        for patient, fold in folds.items()
        if fold not in (test, validated)
    ]
    validation = [_item("real", patient) | {"fold": VALIDATION} for patient, fold in folds.items() if fold == validated]
    testing = [_item("real", patient) for patient, fold in folds.items() if fold == test]
    return {"training": training + validation, "testing": testing}


def _item(source: str, patient: str) -> dict:
    return {"image": f"{source}/{patient}.nii.gz", "label": f"labels/{patient}.nii.gz"}


def _write(path: Path, array: np.ndarray, spacing: tuple[float, float, float]) -> None:
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"part-{path.name}")
    nib.save(nib.Nifti1Image(array, np.diag([*spacing, 1.0])), part)
    part.replace(path)
