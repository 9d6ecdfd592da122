"""Voxel grids between VTK and numpy: arrays are (X, Y, Z), affines take voxel centers to RAS millimeters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from SynthCTModule.Translation import _


@dataclass(frozen=True)
class Grid:
    """``shape`` (X, Y, Z) and ``affine`` (4, 4), voxel index → RAS mm."""

    shape: tuple[int, int, int]
    affine: np.ndarray


def arrayFromMatrix(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    """A 4 × 4 VTK matrix as float64 array."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def matrixFromArray(array: np.ndarray) -> vtk.vtkMatrix4x4:
    """A (4, 4) array as VTK matrix."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy([float(value) for value in np.asarray(array).ravel()])
    return matrix


def arrayFromImage(image: vtk.vtkImageData) -> np.ndarray | None:
    """The voxels of an image as (X, Y, Z) view of its memory, or None when it is empty."""
    scalars = image.GetPointData().GetScalars()
    if scalars is None or min(image.GetDimensions()) < 1:
        return None
    return vtk_to_numpy(scalars).reshape(image.GetDimensions(), order="F")


def valueCounts(array: np.ndarray) -> dict[int, int]:
    """Voxels of each value but 0, the values ascending; read in the order of the memory, which saves seconds."""
    if array.dtype in (np.uint8, np.uint16):
        from SynthCTLib.slabs import count_ids

        counts = count_ids(array)
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts) if value}
    values, numbers = np.unique(array.ravel(order="K"), return_counts=True)
    return {int(value): int(number) for value, number in zip(values, numbers, strict=True) if value}


def imageAffine(image: Any) -> np.ndarray:
    """Affine of a vtkOrientedImageData for the array of :func:`arrayFromImage`, whose first voxel is index 0."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    affine = arrayFromMatrix(matrix)
    first = np.array(image.GetExtent()[::2], dtype=float)
    affine[:3, 3] += affine[:3, :3] @ first
    return affine


def fillImage(image: vtk.vtkImageData, array: np.ndarray) -> None:
    """Give an image the size and a copy of the voxels of an (X, Y, Z) array."""
    image.SetDimensions(array.shape)
    scalars = numpy_to_vtk(array.ravel(order="F"), deep=True)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)


def volumeGrid(volumeNode: Any) -> Grid:
    """The grid of a volume node in the world. Raises ValueError when it has no voxels or a warping transform."""
    image = volumeNode.GetImageData()
    if image is None or min(image.GetDimensions()) < 1:
        text = _("The volume '{name}' has no voxels; choose another one.")
        raise ValueError(text.format(name=volumeNode.GetName()))
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    world = worldMatrix(volumeNode)
    if world is None:
        text = _("The volume '{name}' is under a warping transform; harden it first.")
        raise ValueError(text.format(name=volumeNode.GetName()))
    x, y, z = image.GetDimensions()
    return Grid((x, y, z), world @ arrayFromMatrix(matrix))


def worldMatrix(node: Any) -> np.ndarray | None:
    """The linear transform (4, 4) from a node's own coordinates to the world; None when it is not linear."""
    transformNode = node.GetParentTransformNode()
    if transformNode is None:
        return np.eye(4)
    if not transformNode.IsTransformToWorldLinear():
        return None
    matrix = vtk.vtkMatrix4x4()
    transformNode.GetMatrixTransformToWorld(matrix)
    return arrayFromMatrix(matrix)
