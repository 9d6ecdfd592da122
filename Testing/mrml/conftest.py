"""An empty scene of Slicer's data layer (package slicer-core), and volumes to put into it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def scene() -> Iterator[Any]:
    """A scene with the logics that Slicer starts with, so that representations can be converted in it."""
    slicer = pytest.importorskip("slicer", reason="slicer-core is missing (extra module-test)")
    scene = slicer.vtkMRMLScene()
    logics = [slicer.vtkSlicerSegmentationsModuleLogic(), slicer.vtkSlicerVolumesLogic()]
    for logic in logics:
        logic.SetMRMLScene(scene)
    yield scene
    scene.Clear(True)


@pytest.fixture
def blocks() -> np.ndarray:
    """Every used label once, as a block of 2³ voxels: (24, 20, 24) uint8."""
    from SynthCTLib.labels import load_vocabulary

    labels = [label.id for label in load_vocabulary().labels if not label.dummy]
    array = np.zeros((24, 20, 24), np.uint8)
    for number, label in enumerate(labels):
        x, y, z = np.unravel_index(number, (6, 5, 6))
        array[4 * x : 4 * x + 2, 4 * y : 4 * y + 2, 4 * z : 4 * z + 2] = label
    return array


@pytest.fixture(scope="session")
def result(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a real result of the worker, made with a random model from a chest of boxes."""
    folder = tmp_path_factory.mktemp("result")
    labels = np.zeros((20, 16, 18), np.uint8)
    labels[2:18, 2:14, :] = 200
    labels[4:8, 4:11, 4:16] = 28
    labels[12:16, 4:11, 4:16] = 30
    labels[10:16, 4:11, 0:3] = 1
    nib.save(nib.Nifti1Image(labels, np.diag([16.0, 16.0, 16.0, 1.0])), folder / "labels.nii.gz")
    job = {"schema": 1, "mask": "labels.nii.gz", "out": "Ergebnis ä", "model": str(tiny_model), "labels": "maisi"}
    (folder / "job.json").write_text(json.dumps({**job, "seed": 7, "device": "cpu"}), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "SynthCTLib.worker", str(folder / "job.json")], check=True, cwd=ROOT)
    return folder / "Ergebnis ä"
