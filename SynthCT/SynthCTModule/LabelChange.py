"""What an edit changes in a label map, and how that comes into the segments: only their voxels in a box are touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk

from SynthCTModule.AnatomySnapshot import AnatomySnapshot, AnatomyVoxels
from SynthCTModule.Composition import Painted, placedIds, wholeVoxels
from SynthCTModule.SegmentationExchange import addLabelSegment
from SynthCTModule.Translation import _
from SynthCTModule.VoxelGrid import arrayFromMatrix, fillImage, matrixFromArray, valueCounts

_FEW = 8
"""So many segments are changed one by one; more get a new image that they share."""

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Part:
    """Voxels that a label loses or gains: ``mask`` (x, y, z) bool, whose first voxel is voxel ``first`` of the map."""

    mask: np.ndarray
    first: np.ndarray


@dataclass(frozen=True)
class LabelChange:
    """From one label map to another on the same grid; ``affine``: voxel → RAS mm in the coordinates of the node.

    Few labels: ``lost`` and ``gained`` by label id. ``replaced``: all voxels, by segment id, of segments that hold
    others than the map shows (hidden under other segments), or share their label. Many labels: ``shared``, all of them.
    """

    affine: np.ndarray
    ids: tuple[int, ...]
    lost: dict[int, Part]
    gained: dict[int, Part]
    replaced: dict[str, Part]
    shared: np.ndarray | None = None


def labelChange(voxels: AnatomyVoxels, painted: Painted, after: np.ndarray, box: Box) -> LabelChange:
    """The difference of a snapshot's label map and ``after``, which are equal outside of ``box``; in any thread."""
    old, new = painted.array[box], after[box]
    changed = old != new
    ids = tuple(sorted({*valueCounts(np.where(changed, old, 0)), *valueCounts(np.where(changed, new, 0))}))
    affine = np.linalg.inv(voxels.world) @ painted.grid.affine
    if len(ids) > _FEW:
        kept = np.zeros(256, np.uint8)
        kept[list(ids)] = ids
        return LabelChange(affine, ids, {}, {}, {}, kept[after.T].T)
    start = np.array([part.start or 0 for part in box])
    exact = [labelId for labelId in ids if _isExact(voxels, painted, labelId)]
    replaced: dict[str, Part] = {}
    for labelId in set(ids) - set(exact):
        replaced |= _replaced(voxels, painted, after, labelId)
    lost = {labelId: _part(changed & (old == labelId), start) for labelId in exact}
    gained = {labelId: _part(changed & (new == labelId), start) for labelId in exact}
    return LabelChange(affine, ids, _present(lost), _present(gained), replaced)


def applyChange(snapshot: AnatomySnapshot, change: LabelChange) -> None:
    """Bring a change into the segments of the snapshot's node; a new label becomes a new segment.

    Each label that has changed has then the voxels of the new label map; other segments stay, overlaps with them, too.
    Raises RuntimeError where the segmentation was changed meanwhile, or Slicer refuses.
    """
    snapshot.stopIfChanged()
    node = snapshot.node
    modified = node.StartModify()
    try:
        if change.shared is not None:
            _shareImage(snapshot, change)
        else:
            _changeOneByOne(snapshot, change)
    finally:
        node.EndModify(modified)


def _isExact(voxels: AnatomyVoxels, painted: Painted, labelId: int) -> bool:
    """Whether the voxels of a label in the map are those of its one segment (or there is none yet).

    Layers that are not resampled lie within the map; so equal numbers are equal voxels.
    """
    own = voxels.segmentsOf(labelId)
    if len(own) > 1 or sum(painted.filled.get(one, 0) for one in own) != painted.voxels.get(labelId, 0):
        return False
    layers = [layer for layer in voxels.layers if set(own) & set(layer.segments.values())]
    between = [np.linalg.inv(layer.affine) @ painted.grid.affine for layer in layers]
    return all(wholeVoxels(one, painted.grid.shape) is not None for one in between)


def _replaced(voxels: AnatomyVoxels, painted: Painted, after: np.ndarray, labelId: int) -> dict[str, Part]:
    """The last segment of a label gets all of its voxels; others of the label lose what the label loses."""
    *others, last = voxels.segmentsOf(labelId)
    nowhere = np.zeros(3, int)
    parts = {last: Part(after == labelId, nowhere)}
    for other in others:
        for layer in voxels.layers:
            value = next((value for value, segmentId in layer.segments.items() if segmentId == other), None)
            if value is not None:
                lookup = np.zeros(max(256, max(layer.segments) + 2), np.uint8)
                lookup[value] = 1
                own = placedIds(layer, lookup, painted.grid) > 0
                parts[other] = Part(own & ((after == labelId) | (painted.array != labelId)), nowhere)
    return parts


def _part(mask: np.ndarray, start: np.ndarray) -> Part | None:
    from SynthCTLib.slabs import occupied_box

    span = occupied_box(mask)
    if span is None:
        return None
    x, y, z = (slice(int(low), int(high) + 1) for low, high in zip(*span, strict=True))
    return Part(mask[x, y, z].copy(order="K"), start + span[0])


def _present(parts: dict[int, Part | None]) -> dict[int, Part]:
    return {labelId: part for labelId, part in parts.items() if part is not None}


def _changeOneByOne(snapshot: AnatomySnapshot, change: LabelChange) -> None:
    """First what labels lose, so that in a layer that they share there is room for what others gain."""
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    for labelId, part in change.lost.items():
        kept = Part(~part.mask, part.first)
        _merge(snapshot.node, snapshot.segmentsOf(labelId)[-1], kept, change, logic.MODE_MERGE_MIN)
    for segmentId, part in change.replaced.items():
        _merge(snapshot.node, segmentId, part, change, logic.MODE_REPLACE)
    for labelId, part in change.gained.items():
        _merge(snapshot.node, _segmentId(snapshot, labelId), part, change, logic.MODE_MERGE_MASK)


def _segmentId(snapshot: AnatomySnapshot, labelId: int) -> str:
    """The segment of a label, which is added where there is none."""
    own = snapshot.segmentsOf(labelId)
    return own[-1] if own else addLabelSegment(snapshot.node, labelId)


def _merge(node: Any, segmentId: str, part: Part, change: LabelChange, mode: int) -> None:
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    segmentation = node.GetSegmentation()
    image = _image(part, change.affine, _lattice(segmentation.GetSegment(segmentId)))
    # What is erased are voxels of this segment alone, so that others in its layer need no layer of their own.
    erasing = mode == logic.MODE_MERGE_MIN
    harmless = [other for other in segmentation.GetSegmentIDs() if erasing and other != segmentId]
    if not logic.SetBinaryLabelmapToSegment(image, node, segmentId, mode, image.GetExtent(), False, harmless):
        text = _("Slicer could not change the segment '{name}'; undo the edit in the Segment Editor.")
        raise RuntimeError(text.format(name=segmentation.GetSegment(segmentId).GetName()))


def _lattice(segment: Any) -> np.ndarray | None:
    """Affine of the voxel indices of a segment's image; None when it has no voxels."""
    image = segment.GetRepresentation(slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName())
    if image is None or image.IsEmpty():
        return None
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return arrayFromMatrix(matrix)


def _image(part: Part, affine: np.ndarray, lattice: np.ndarray | None = None) -> Any:
    """Voxels as image: on the lattice of a segment where theirs are the same, since Slicer resamples otherwise."""
    shift = None if lattice is None else wholeVoxels(np.linalg.inv(lattice) @ affine, part.mask.shape)
    first = part.first if shift is None else part.first + shift
    image = slicer.vtkOrientedImageData()
    fillImage(image, part.mask.view(np.uint8))
    ends = zip(first, first + part.mask.shape - 1, strict=True)
    image.SetExtent([int(end) for pair in ends for end in pair])
    image.SetImageToWorldMatrix(matrixFromArray(affine if shift is None else lattice))
    return image


def _shareImage(snapshot: AnatomySnapshot, change: LabelChange) -> None:
    """All at once: the segments share one image, which is what keeps a hundred of them fast."""
    image = _image(Part(change.shared, np.zeros(3, int)), change.affine)
    segmentation = snapshot.node.GetSegmentation()
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    for labelId in change.ids:
        for other in snapshot.segmentsOf(labelId)[:-1]:
            segmentation.ClearSegment(other)  # what it holds is in the last one of its label now
        segment = segmentation.GetSegment(_segmentId(snapshot, labelId))
        segment.RemoveAllRepresentations()
        segment.SetLabelValue(labelId)
        segment.AddRepresentation(name, image)
    snapshot.node.Modified()
