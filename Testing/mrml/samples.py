"""Grids and segmentations that the tests of the data layer share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is missing (extra module-test)")

from SynthCTModule.VoxelGrid import fillImage, matrixFromArray

LIVER, SPLEEN, RIGHT_KIDNEY, AORTA, LEFT_KIDNEY, HEPATIC_TUMOR, COLON, BODY = 1, 3, 5, 6, 14, 26, 62, 200
SHAPE = (20, 18, 16)


def turned(spacing: tuple[float, float, float], angles: tuple[float, float], flip: bool = False) -> np.ndarray:
    """An affine with axes at right angles, turned about z and x (degrees); left-handed if ``flip``."""
    a, b = np.radians(angles)
    aboutZ = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    aboutX = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = aboutZ @ aboutX @ np.diag([-1.0 if flip else 1.0, 1.0, 1.0]) * spacing
    affine[:3, 3] = (12.3, -45.6, 78.9)
    return affine


TURNED = turned((1.5, 2.0, 3.25), (25.0, -40.0))
GRIDS = {
    "plain": np.diag([2.0, 2.0, 2.0, 1.0]),
    "turned": TURNED,
    "left-handed": turned((0.8, 1.1, 5.0), (170.0, 15.0), flip=True),
    "lps": np.array([[-1.5, 0, 0, 90], [0, -1.5, 0, 80], [0, 0, 2.5, -600], [0, 0, 0, 1.0]]),
}


def box(*corners: tuple[int, int], shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """A bool array with True from first to last (exclusive) along each axis."""
    array = np.zeros(shape, bool)
    array[tuple(slice(*corner) for corner in corners)] = True
    return array


def emptySegmentation(scene: Any, name: str = "Anatomy") -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    return node


def addSegment(node: Any, name: str, mask: np.ndarray, affine: np.ndarray = TURNED, segmentId: str = "") -> str:
    """A segment as a user draws it: a name, Slicer's default terminology, and a layer of its own."""
    image = slicer.vtkOrientedImageData()
    fillImage(image, mask.astype(np.uint8))
    image.SetImageToWorldMatrix(matrixFromArray(affine))
    return str(node.AddSegmentFromBinaryLabelmapRepresentation(image, name, [0.1, 0.2, 0.3], segmentId or name))


def segmentOf(node: Any, segmentId: str) -> Any:
    return node.GetSegmentation().GetSegment(segmentId)


def setTerminology(node: Any, segmentId: str, entry: str) -> None:
    segmentOf(node, segmentId).SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), entry)


def positions(array: np.ndarray, affine: np.ndarray, label: int) -> np.ndarray:
    """World positions (N, 3) of the voxels of a label, in the order of their coordinates."""
    index = np.argwhere(array == label)
    points = index @ affine[:3, :3].T + affine[:3, 3]
    return points[np.lexsort(np.round(points, 3).T)]


def transformed(scene: Any, node: Any, matrix: np.ndarray) -> Any:
    """Put a node under a linear transform."""
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Transform")
    transform.SetMatrixTransformToParent(matrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform
