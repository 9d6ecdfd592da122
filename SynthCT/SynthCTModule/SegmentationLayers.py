"""The voxels of a segmentation in the world: its layers, each an array of label values with a position.

Segments of Slicer share label maps ("layers"), so that a hundred segments are a few arrays. A layer is read once, in
place; nothing is changed in the node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk

from SynthCTModule.Translation import _
from SynthCTModule.VoxelGrid import Grid, arrayFromImage, arrayFromMatrix, imageAffine, matrixFromArray, worldMatrix

SURFACE_SPACING = 1.5
"""mm: voxels of segments that exist as surfaces only and have no reference geometry; finer than models are."""
_MARGIN = 2
"""Voxels of air around surfaces."""
_SAMPLES = 9
"""Points along each axis at which a warping transform is looked at to find out where an image ends."""


@dataclass(frozen=True)
class Layer:
    """``array`` (X, Y, Z) of label values, ``affine`` voxel → RAS mm in the world, ``segments``: value → segment id."""

    array: np.ndarray
    affine: np.ndarray
    segments: dict[int, str]


def segmentationLayers(segmentationNode: Any, grid: Grid | None = None) -> list[Layer]:
    """All layers with voxels, in the world: transforms of the node are applied.

    ``grid``: where segments that have surfaces only become voxels. Raises RuntimeError when that is impossible.
    """
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    segmentation = segmentationNode.GetSegmentation()
    if segmentation.GetNumberOfSegments() and not segmentation.ContainsRepresentation(name):
        segmentation = _voxelized(segmentationNode, grid)
    layers = []
    for index in range(segmentation.GetNumberOfLayers(name)):
        image = _inWorld(segmentationNode, segmentation.GetLayerDataObject(index, name))
        array = None if image is None else arrayFromImage(image)
        if array is None:
            continue
        ids = segmentation.GetSegmentIDsForLayer(index, name)
        values = {segmentation.GetSegment(segmentId).GetLabelValue(): segmentId for segmentId in ids}
        layers.append(Layer(array, _worldAffine(segmentationNode, image), values))
    return layers


def referenceGrid(segmentationNode: Any) -> Grid | None:
    """The grid that the segmentation was drawn on, in the world; None when it does not say."""
    parameter = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    text = segmentationNode.GetSegmentation().GetConversionParameter(parameter)
    world = worldMatrix(segmentationNode)
    image = slicer.vtkOrientedImageData()
    if not text or world is None or not slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, image, False):
        return None
    x, y, z = image.GetDimensions()
    return Grid((x, y, z), world @ imageAffine(image)) if min(x, y, z) > 0 else None


def _inWorld(segmentationNode: Any, image: Any) -> Any:
    """The image itself where a matrix says where it lies; a resampled copy under a warping transform."""
    if image is None or image.IsEmpty() or worldMatrix(segmentationNode) is not None:
        return image
    transform = vtk.vtkGeneralTransform()
    segmentationNode.GetParentTransformNode().GetTransformToWorld(transform)
    target = slicer.vtkOrientedImageData()
    target.SetExtent(_warpedExtent(image, transform))
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    target.SetImageToWorldMatrix(matrix)
    warped = slicer.vtkOrientedImageData()
    resample = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage
    if not resample(image, target, warped, False, False, transform):
        text = _("The transform of '{name}' cannot be applied; harden it in the Data module.")
        raise RuntimeError(text.format(name=segmentationNode.GetName()))
    return warped


def _warpedExtent(image: Any, transform: Any) -> list[int]:
    """Where the voxels of an image come to lie, in voxels of its own grid.

    Slicer's TransformOrientedImage takes two corners only, and cuts off what lies on turned axes.
    """
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    toWorld = arrayFromMatrix(matrix)
    extent = np.array(image.GetExtent(), dtype=float).reshape(3, 2) + np.array([-0.5, 0.5])
    axes = [np.linspace(low, high, _SAMPLES) for low, high in extent]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3) @ toWorld[:3, :3].T + toWorld[:3, 3]
    moved = np.array([transform.TransformPoint(*point) for point in points])
    voxels = np.linalg.solve(toWorld[:3, :3], (moved - toWorld[:3, 3]).T).T
    low, high = np.floor(voxels.min(axis=0)) - 1, np.ceil(voxels.max(axis=0)) + 1
    return [int(value) for pair in zip(low, high, strict=True) for value in pair]


def _worldAffine(segmentationNode: Any, image: Any) -> np.ndarray:
    world = worldMatrix(segmentationNode)
    return imageAffine(image) if world is None else world @ imageAffine(image)


def _voxelized(segmentationNode: Any, grid: Grid | None) -> Any:
    """A copy of the segmentation whose segments have voxels."""
    converter = slicer.vtkSegmentationConverter
    copy = slicer.vtkSegmentation()
    copy.DeepCopy(segmentationNode.GetSegmentation())
    parameter = converter.GetReferenceImageGeometryParameterName()
    local = _localGrid(segmentationNode, grid)
    if local is not None or not copy.GetConversionParameter(parameter):
        copy.SetConversionParameter(parameter, converter.SerializeImageGeometry(*_geometry(local or _around(copy))))
    if not copy.CreateRepresentation(converter.GetSegmentationBinaryLabelmapRepresentationName()):
        text = _("The segments of '{name}' cannot be turned into voxels; convert them to binary labelmap first.")
        raise RuntimeError(text.format(name=segmentationNode.GetName()))
    return copy


def _localGrid(segmentationNode: Any, grid: Grid | None) -> Grid | None:
    """The grid in the node's own coordinates; None where a warping transform lies between."""
    world = worldMatrix(segmentationNode)
    return None if grid is None or world is None else Grid(grid.shape, np.linalg.inv(world) @ grid.affine)


def _around(segmentation: Any) -> Grid:
    bounds = np.zeros(6)
    segmentation.GetBounds(bounds)
    low, high = bounds[::2], bounds[1::2]
    counts = np.ceil((high - low) / SURFACE_SPACING).astype(int) + 1 + 2 * _MARGIN
    affine = np.diag([SURFACE_SPACING] * 3 + [1.0])
    affine[:3, 3] = low - _MARGIN * SURFACE_SPACING
    return Grid((int(counts[0]), int(counts[1]), int(counts[2])), affine)


def _geometry(grid: Grid) -> tuple[vtk.vtkMatrix4x4, list[int]]:
    extent = [value for size in grid.shape for value in (0, size - 1)]
    return matrixFromArray(grid.affine), extent
