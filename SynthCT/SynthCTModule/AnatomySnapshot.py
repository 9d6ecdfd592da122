"""A segmentation as it was when an edit began, apart from the scene, so that another thread can compute with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import slicer

from SynthCTModule.Composition import Painted, paintLayers
from SynthCTModule.LabelColors import vocabulary
from SynthCTModule.SegmentationLayers import Layer, referenceGrid, segmentationLayers
from SynthCTModule.SegmentLabels import ResolvedSegment, resolveSegments
from SynthCTModule.Translation import _
from SynthCTModule.VoxelGrid import Grid, worldMatrix


@dataclass(frozen=True)
class AnatomyVoxels:
    """What a thread may hold: no node, which would be deleted in the thread if that were the last to let go of it.

    ``layers``: copies of the voxels, in the world. ``segments``: as resolved. ``drawnOn``: reference grid or None.
    ``world``: (4, 4) from the node's coordinates.
    """

    layers: tuple[Layer, ...]
    segments: tuple[ResolvedSegment, ...]
    drawnOn: Grid | None
    world: np.ndarray

    def painted(self) -> Painted:
        """The label map, in any thread."""
        return paintLayers(self.layers, self.segments, None, self.drawnOn, vocabulary())

    def segmentsOf(self, labelId: int) -> list[str]:
        """Ids of the segments with a label, in the order of the segmentation."""
        return [segment.segmentId for segment in self.segments if segment.labelId == labelId]


@dataclass(frozen=True)
class AnatomySnapshot:
    """For the main thread: whose ``voxels`` these are. ``state``: equal for as long as segments and voxels are."""

    node: Any
    voxels: AnatomyVoxels
    state: tuple[Any, ...]

    def segmentsOf(self, labelId: int) -> list[str]:
        """As of the voxels."""
        return self.voxels.segmentsOf(labelId)

    def stopIfChanged(self) -> None:
        """Raise RuntimeError where the segmentation is not what it was, or has left the scene."""
        if self.node.GetScene() is None or _state(self.node) != self.state:
            text = _("'{name}' was changed meanwhile; this edit was left out, do it again.")
            raise RuntimeError(text.format(name=self.node.GetName()))


def snapshot(segmentationNode: Any) -> AnatomySnapshot:
    """Copy what an edit needs; takes as long as copying the voxels.

    Raises ValueError for a node under a warping transform, whose segments have no grid in the world, and for segments
    that are surfaces only: the voxels that an edit changes would not be theirs.
    """
    name = segmentationNode.GetName()
    world = worldMatrix(segmentationNode)
    if world is None:
        text = _("'{name}' is under a warping transform; change it before it is warped.")
        raise ValueError(text.format(name=name))
    segmentation = segmentationNode.GetSegmentation()
    binary = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    if segmentation.GetNumberOfSegments() and segmentation.GetSourceRepresentationName() != binary:
        text = _("The segments of '{name}' are surfaces; make binary labelmaps of them in the module Segmentations.")
        raise ValueError(text.format(name=name))
    layers = segmentationLayers(segmentationNode)
    copies = tuple(replace(layer, array=layer.array.copy(order="K")) for layer in layers)
    segments = tuple(resolveSegments(segmentationNode))
    voxels = AnatomyVoxels(copies, segments, referenceGrid(segmentationNode), world)
    return AnatomySnapshot(segmentationNode, voxels, _state(segmentationNode))


def _state(segmentationNode: Any) -> tuple[Any, ...]:
    """Labels and versions of all segments, and where the node lies."""
    segmentation = segmentationNode.GetSegmentation()
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    rows = []
    for segment in resolveSegments(segmentationNode):
        vtkSegment = segmentation.GetSegment(segment.segmentId)
        image = vtkSegment.GetRepresentation(name)
        version = None if image is None else (image.GetAddressAsString(""), image.GetMTime())
        rows.append((segment.segmentId, segment.labelId, vtkSegment.GetLabelValue(), version))
    world = worldMatrix(segmentationNode)
    return (tuple(rows), None if world is None else tuple(world.ravel()))
