"""Segmentations out of Slicer and back: one label map in MAISI ids, and segments with the right labels.

Slicer's own export matches labels by terminology, then by name, and then invents a number; so the label map is composed
here, with an id for each segment that is known for certain.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from SynthCTModule.Composition import Composed, Painted, composeLayers
from SynthCTModule.FileCheck import isComplete, nrrdHeader
from SynthCTModule.LabelColors import vocabulary
from SynthCTModule.LabelmapNumbers import labelmapNumbers
from SynthCTModule.SegmentationLayers import referenceGrid, segmentationLayers
from SynthCTModule.SegmentLabels import ResolvedSegment, UnknownSegments, resolveSegments, setSegmentLabel
from SynthCTModule.Translation import _
from SynthCTModule.VoxelGrid import Grid, arrayFromImage, fillImage, matrixFromArray, valueCounts, volumeGrid
from SynthCTModule.WriteNode import writeNode


@dataclass(frozen=True)
class ExportReport:
    """What was written to ``path``.

    ``grid``: shape and affine. ``voxels``: voxels by label id, as in the file. ``scheme``: what the worker has to be
    told about the numbers (``labels`` of the job): ``maisi``, or None where they are as in the node and the engine has
    to find out. ``findings``: overlaps and losses (SynthCTLib.findings). ``segments``: as resolved.
    """

    path: Path
    grid: Grid
    voxels: dict[int, int]
    scheme: str | None
    findings: tuple[Any, ...] = ()
    segments: tuple[ResolvedSegment, ...] = ()


def exportLabelmap(node: Any, path: Path | str, referenceVolume: Any = None) -> ExportReport:
    """Write a segmentation or label map volume node as NRRD label map that the engine reads; the node stays as it is.

    Args:
        node: vtkMRMLSegmentationNode or vtkMRMLLabelMapVolumeNode; its transforms are applied.
        path: ends in ``.nrrd``. It appears complete or not at all.
        referenceVolume: volume node whose grid the file gets; None: the grid that the segmentation was drawn on.

    A voxel in several segments goes to the lesion, else to the smaller structure; the body gives way. The numbers of a
    label map are told by the names and terminologies of its color table. With one of Slicer's own color tables they
    stay as they are, since its names have nothing to do with them.

    Raises:
        UnknownSegments: a segment with voxels has no certain label. ValueError: there is nothing to export.
        RuntimeError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".nrrd":
        raise ValueError(_("A label map is written as .nrrd, not as '{name}'.").format(name=path.name))
    grid = volumeGrid(referenceVolume) if referenceVolume is not None else None
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        return _exportVolume(node, path)
    composed, segments = composeSegmentation(node, grid)
    stopAtUnknown(composed, segments)
    if composed.grid is None or not composed.array.any():
        raise ValueError(
            _("The segmentation '{name}' has no voxels; draw or load something first.").format(name=node.GetName())
        )
    writeLabelmap(composed.array, composed.grid.affine, path)
    return ExportReport(path, composed.grid, composed.voxels, "maisi", composed.findings, tuple(segments))


def stopAtUnknown(composed: Painted, segments: Iterable[ResolvedSegment]) -> None:
    """Raise UnknownSegments, which names them, where a segment with voxels has no certain label."""
    unknown = [s for s in segments if s.labelId is None and composed.filled.get(s.segmentId)]
    if unknown:
        raise UnknownSegments(unknown)


def composeSegmentation(node: Any, grid: Grid | None = None) -> tuple[Composed, list[ResolvedSegment]]:
    """One label map of a segmentation node without writing it, and what each segment is; unknown ones are left out."""
    segments = resolveSegments(node)
    layers = segmentationLayers(node, grid)
    return composeLayers(layers, segments, grid, referenceGrid(node), vocabulary()), segments


def importLabelmap(
    source: Path | str | np.ndarray, ijkToRas: np.ndarray | None = None, name: str = "", scene: Any = None
) -> Any:
    """A new segmentation node with one segment per label: right names, colors, terminology and tags.

    Args:
        source: label map in MAISI ids: NIfTI or NRRD file, or an array (X, Y, Z) with ``ijkToRas`` (4, 4).

    A file that names its segments (.seg.nrrd) is loaded as it is: its numbers mean nothing. Raises ValueError for an id
    that is no label, RuntimeError when the file cannot be read.
    """
    scene = scene or slicer.mrmlScene
    if not isinstance(source, np.ndarray):
        name = name or Path(source).name.split(".")[0]
        if _namesSegments(Path(source)):
            return _loadSegmentation(Path(source), name, scene)
        source, ijkToRas = readLabelmap(source)
    if ijkToRas is None:
        raise ValueError("An array of labels needs its position (ijkToRas).")
    array = np.asarray(source)
    ids = list(valueCounts(array))
    known = {label.id for label in vocabulary().labels if not label.dummy}
    strange = [value for value in ids if value not in known]
    if strange:
        text = _("{name} holds numbers that are no labels of SynthCT: {numbers}.")
        raise ValueError(text.format(name=name, numbers=", ".join(map(str, strange))))
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", scene.GenerateUniqueName(name or "Segmentation"))
    node.CreateDefaultDisplayNodes()
    image = slicer.vtkOrientedImageData()
    fillImage(image, array.astype(np.uint8, copy=False))
    image.SetImageToWorldMatrix(matrixFromArray(ijkToRas))
    geometry = slicer.vtkSegmentationConverter.SerializeImageGeometry(image)
    parameter = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    node.GetSegmentation().SetConversionParameter(parameter, geometry)
    for labelId in ids:
        _addSharedSegment(node, image, labelId)
    return node


def addLabelSegment(segmentationNode: Any, labelId: int) -> str:
    """Add an empty segment for a label, with its name, color and terminology; returns the segment's id."""
    segmentation = segmentationNode.GetSegmentation()
    segmentId = segmentation.AddEmptySegment(segmentation.GenerateUniqueSegmentID(vocabulary().by_id(labelId).name))
    setSegmentLabel(segmentationNode, segmentId, labelId)
    return str(segmentId)


def readLabelmap(path: Path | str) -> tuple[np.ndarray, np.ndarray]:
    """Array (X, Y, Z) and affine (4, 4; voxel → RAS mm) of a NIfTI or NRRD label map, read by Slicer.

    Raises RuntimeError when it cannot be read.
    """
    node = slicer.vtkMRMLLabelMapVolumeNode()
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    read = isComplete(Path(path)) and storage.ReadData(node) and node.GetImageData()
    array = arrayFromImage(node.GetImageData()) if read else None
    if array is None:
        raise RuntimeError(_("The label map {name} cannot be read.").format(name=Path(path).name))
    return array.copy(order="F"), volumeGrid(node).affine


def writeLabelmap(array: np.ndarray, affine: np.ndarray, path: Path) -> None:
    """Write a label map (X, Y, Z; affine voxel → RAS mm) as NRRD, beside ``path`` and renamed when complete.

    Raises RuntimeError when the place cannot be written.
    """
    node = slicer.vtkMRMLLabelMapVolumeNode()
    image = slicer.vtkOrientedImageData()
    fillImage(image, array)
    slicer.vtkSlicerSegmentationsModuleLogic.CopyOrientedImageDataToVolumeNode(image, node)
    node.SetIJKToRASMatrix(matrixFromArray(affine))
    writeNode(node, slicer.vtkMRMLNRRDStorageNode(), path)  # NRRD keeps sheared axes, which NIfTI cannot


def _namesSegments(path: Path) -> bool:
    """Whether the header of an NRRD file lists segments, as Slicer writes it."""
    if not path.name.lower().endswith(".nrrd"):
        return False
    try:
        with path.open("rb") as file:
            return any(key.startswith("Segment0_") for key in nrrdHeader(file))
    except (OSError, ValueError):
        return False


def _loadSegmentation(path: Path, name: str, scene: Any) -> Any:
    node = slicer.vtkMRMLSegmentationNode()
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    if not isComplete(path) or not storage.ReadData(node):
        raise RuntimeError(_("The segmentation {name} cannot be read.").format(name=path.name))
    node.SetName(scene.GenerateUniqueName(name))
    scene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    return node


def _exportVolume(node: Any, path: Path) -> ExportReport:
    numbers = labelmapNumbers(node)
    writeLabelmap(numbers.array, numbers.grid.affine, path)
    return ExportReport(path, numbers.grid, valueCounts(numbers.array), numbers.scheme, segments=numbers.labels)


def _addSharedSegment(node: Any, image: Any, labelId: int) -> None:
    segment = slicer.vtkSegment()
    segment.SetLabelValue(labelId)
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    segment.AddRepresentation(name, image)
    segmentId = vocabulary().by_id(labelId).name
    node.GetSegmentation().AddSegment(segment, segmentId)
    setSegmentLabel(node, segmentId, labelId)
