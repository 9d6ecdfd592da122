"""An empty scene of Slicer's data layer (package slicer-core), and volumes to put into it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest


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
