"""The grid chosen for a CT: as a box in the views, and as an empty volume to draw on."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from SynthCTModule.VoxelGrid import Grid, fillImage, matrixFromArray

AIR = -1000
"""HU of the empty volume."""
TEMPLATE_ATTRIBUTE = "SynthCT.Template"
"""Marks empty volumes, which are no CT."""


def showGridBox(grid: Grid, name: str, scene: Any = None, box: Any = None) -> Any:
    """A locked box (vtkMRMLMarkupsROINode) around all voxels of a grid; ``box`` is moved there when given.

    Axes that are not at right angles are replaced by the nearest ones that are, since boxes have no other.
    """
    scene = scene or slicer.mrmlScene
    if box is None:
        box = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", name)
        box.CreateDefaultDisplayNodes()
        box.SetLocked(True)
        _plainDisplay(box.GetDisplayNode())
    spacing = np.linalg.norm(grid.affine[:3, :3], axis=0)
    toWorld = np.eye(4)
    toWorld[:3, :3] = _rotation(grid.affine[:3, :3])
    toWorld[:3, 3] = grid.affine[:3, :3] @ ((np.array(grid.shape) - 1) / 2) + grid.affine[:3, 3]
    box.SetAndObserveObjectToNodeMatrix(matrixFromArray(toWorld))
    box.SetSize(*(float(value) for value in np.array(grid.shape) * spacing))
    return box


def templateVolume(grid: Grid, name: str, scene: Any = None) -> Any:
    """A volume node full of air on a grid: what segmentations are drawn on where there is no CT."""
    scene = scene or slicer.mrmlScene
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GenerateUniqueName(name))
    image = slicer.vtkOrientedImageData()
    fillImage(image, np.full(grid.shape, AIR, np.int16, order="F"))
    slicer.vtkSlicerSegmentationsModuleLogic.CopyOrientedImageDataToVolumeNode(image, node)
    node.SetIJKToRASMatrix(matrixFromArray(grid.affine))
    node.SetAttribute(TEMPLATE_ATTRIBUTE, "1")
    node.CreateDefaultDisplayNodes()
    return node


def templateIds(scene: Any = None) -> list[str]:
    """Ids of the empty volumes in the scene."""
    scene = scene or slicer.mrmlScene
    count = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    nodes = (scene.GetNthNodeByClass(index, "vtkMRMLScalarVolumeNode") for index in range(count))
    return [node.GetID() for node in nodes if node.GetAttribute(TEMPLATE_ATTRIBUTE)]


def drawOn(segmentationNode: Any, volumeNode: Any) -> None:
    """Let a segmentation have the grid of a volume node: what is drawn from now on lies on it."""
    segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)


def _rotation(axes: np.ndarray) -> np.ndarray:
    """The right-handed rotation (3, 3) nearest to the axes in the columns of a matrix, up to their signs."""
    left, _sizes, right = np.linalg.svd(axes / np.linalg.norm(axes, axis=0))
    rotation = left @ right
    if np.linalg.det(rotation) < 0:
        rotation[:, 0] *= -1
    return rotation


def _plainDisplay(display: Any) -> None:
    display.SetHandlesInteractive(False)
    display.SetFillVisibility(False)
    display.SetPropertiesLabelVisibility(False)
