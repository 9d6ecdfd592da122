"""A segmentation as one array of label ids, and changes of such an array brought back into its segments."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from SynthCTModule.Composition import Composed
from SynthCTModule.LabelmapNumbers import labelmapIds
from SynthCTModule.SegmentationExchange import addLabelSegment, composeSegmentation, stopAtUnknown
from SynthCTModule.SegmentLabels import resolveSegments
from SynthCTModule.Translation import _
from SynthCTModule.VoxelGrid import fillImage, matrixFromArray, worldMatrix

_FEW = 8
"""So many segments are changed one by one."""


def labelArray(node: Any, labelScheme: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Label ids (X, Y, Z) uint8 and affine (voxel → RAS mm) of a segmentation or label map.

    Segments without a known label are left out. labelScheme: for label maps, see :func:`labelmapIds`, which also says
    what is raised when it is not known what their numbers mean. Raises ValueError when there are no voxels.
    """
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        return labelmapIds(node, labelScheme)
    composed, _segments = composeSegmentation(node)
    return _arrayOf(composed, node)


def completeLabelArray(segmentationNode: Any) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`labelArray` of a segmentation, of which nothing may be missing in what is made from it.

    Raises UnknownSegments for segments with voxels whose label is not known, and ValueError as there.
    """
    composed, segments = composeSegmentation(segmentationNode)
    stopAtUnknown(composed, segments)
    return _arrayOf(composed, segmentationNode)


def applyLabelArray(segmentationNode: Any, before: np.ndarray, after: np.ndarray, affine: np.ndarray) -> None:
    """Bring the difference of two arrays of :func:`labelArray` into the segments; a new label becomes a new segment.

    Raises ValueError for a node under a warping transform, whose segments have no grid in the world.
    """
    world = worldMatrix(segmentationNode)
    if world is None:
        text = _("'{name}' is under a warping transform; change it before it is warped.")
        raise ValueError(text.format(name=segmentationNode.GetName()))
    affine = np.linalg.inv(world) @ affine
    changed = before != after
    ids = [int(value) for value in np.union1d(before[changed], after[changed]) if value]
    ofLabel = {segment.labelId: segment.segmentId for segment in resolveSegments(segmentationNode)}
    segmentIds = {labelId: ofLabel.get(labelId) or addLabelSegment(segmentationNode, labelId) for labelId in ids}
    replace = _replaceSegments if len(ids) <= _FEW else _shareImage
    modified = segmentationNode.StartModify()
    try:
        replace(segmentationNode, segmentIds, after, affine)
    finally:
        segmentationNode.EndModify(modified)


def _arrayOf(composed: Composed, node: Any) -> tuple[np.ndarray, np.ndarray]:
    if composed.grid is None or not composed.array.any():
        raise ValueError(_("'{name}' has no labeled voxels; draw or load something first.").format(name=node.GetName()))
    return composed.array, composed.grid.affine


def _replaceSegments(segmentationNode: Any, segmentIds: dict[int, str], after: np.ndarray, affine: np.ndarray) -> None:
    """One by one, so that overlaps with other segments stay."""
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    for labelId, segmentId in segmentIds.items():
        image = _image((after == labelId).astype(np.uint8), affine)
        logic.SetBinaryLabelmapToSegment(image, segmentationNode, segmentId, logic.MODE_REPLACE)


def _shareImage(segmentationNode: Any, segmentIds: dict[int, str], after: np.ndarray, affine: np.ndarray) -> None:
    """All at once: the segments share one image, which is what keeps a hundred of them fast."""
    image = _image(np.where(np.isin(after, list(segmentIds)), after, 0).astype(np.uint8), affine)
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    for labelId, segmentId in segmentIds.items():
        segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
        segment.RemoveAllRepresentations()
        segment.SetLabelValue(labelId)
        segment.AddRepresentation(name, image)
    segmentationNode.Modified()


def _image(array: np.ndarray, affine: np.ndarray) -> Any:
    image = slicer.vtkOrientedImageData()
    fillImage(image, array)
    image.SetImageToWorldMatrix(matrixFromArray(affine))
    return image
