"""A segmentation as one array of label ids."""

from __future__ import annotations

from typing import Any

import numpy as np

from SynthCTModule.Composition import Painted
from SynthCTModule.LabelmapNumbers import labelmapIds
from SynthCTModule.SegmentationExchange import composeSegmentation, stopAtUnknown
from SynthCTModule.Translation import _


def labelArray(node: Any, labelScheme: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Label ids (X, Y, Z) uint8 and affine (voxel → RAS mm) of a segmentation or label map.

    Segments without a known label are left out. labelScheme: for label maps, see :func:`labelmapIds`, which also says
    what is raised when it is not known what their numbers mean. Raises ValueError when there are no voxels.
    """
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        return labelmapIds(node, labelScheme)
    composed, _segments = composeSegmentation(node)
    return labeled(composed, node)


def completeLabelArray(segmentationNode: Any) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`labelArray` of a segmentation, of which nothing may be missing in what is made from it.

    Raises UnknownSegments for segments with voxels whose label is not known, and ValueError as there.
    """
    composed, segments = composeSegmentation(segmentationNode)
    stopAtUnknown(composed, segments)
    return labeled(composed, segmentationNode)


def labeled(composed: Painted, node: Any) -> tuple[np.ndarray, np.ndarray]:
    """Array and affine of a label map. Raises ValueError, which names the node, when there are no voxels."""
    if composed.grid is None or not composed.voxels:
        raise ValueError(_("'{name}' has no labeled voxels; draw or load something first.").format(name=node.GetName()))
    return composed.array, composed.grid.affine
