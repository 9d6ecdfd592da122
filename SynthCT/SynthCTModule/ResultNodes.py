"""The result of a run as nodes beside its input: CT and mask, with settings, seed and report stored on them.

A model that takes no segmentation makes a CT, or an MR image, without a mask.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

from SynthCTModule.FileCheck import isComplete
from SynthCTModule.NiftiFile import readNifti
from SynthCTModule.SegmentationExchange import importLabelmap
from SynthCTModule.Translation import _
from SynthCTModule.VoxelGrid import fillImage, matrixFromArray
from SynthCTModule.WindowPresets import applyWindow, windowForRegion
from SynthCTModule.Work import inBackground

SETTINGS_ATTRIBUTE = "SynthCT.Settings"
SEED_ATTRIBUTE = "SynthCT.Seed"
REPORT_ATTRIBUTE = "SynthCT.Report"
MASK_ROLE = "SynthCT.mask"
"""Node reference from the CT to the mask that it was made from."""

Voxels = tuple[np.ndarray, np.ndarray]
"""Array (X, Y, Z) and affine (voxel → RAS mm)."""


@dataclass(frozen=True)
class ResultNodes:
    """``ct``: vtkMRMLScalarVolumeNode, in HU unless it is MR; ``mask``: vtkMRMLSegmentationNode on its grid or None."""

    ct: Any
    mask: Any


@dataclass(frozen=True)
class ReadResult:
    """What the files of a result hold, not in a scene yet."""

    report: dict[str, Any]
    ct: Any
    """Volume node with its position, without its voxels."""
    image: Any
    """vtkImageData of the CT."""
    mask: Path | None
    ids: Voxels | None
    """Of the mask; None where there is none or its file is left to Slicer."""


def readResult(files: Mapping[str, Path | str]) -> Generator[None, None, ReadResult]:
    """Read the files of a result (``ct`` or ``mr``, ``mask``, ``report``), in steps (SynthCTModule.Work) and a thread.

    Raises RuntimeError when the CT cannot be read.
    """
    report = json.loads(Path(files["report"]).read_text(encoding="utf-8"))
    path, mask = Path(files[modalityOf(report)]), Path(files["mask"]) if "mask" in files else None
    voxels = yield from _read(path)
    ids = (yield from _read(mask)) if mask is not None else None
    ct = slicer.vtkMRMLScalarVolumeNode()
    image = _image(path, voxels, ct)
    ct.SetAndObserveImageData(None)
    yield
    return ReadResult(report, ct, image, mask, ids)


def addResult(
    result: ReadResult, inputNode: Any, settings: Mapping[str, Any], name: str, scene: Any = None
) -> ResultNodes:
    """Put what was read into the scene beside ``inputNode``, which stays as it is, all in one step.

    Nobody sees half of a result, or a mask that student mode is about to hide. Without an input it comes to the end of
    the scene's hierarchy. The nodes keep no link to the files, which the caller may remove. ``settings``: plain values
    of the run. A name that is taken gets a number, so that several results stay side by side. Raises RuntimeError when
    the mask cannot be read; then no node is left behind.
    """
    scene = scene or slicer.mrmlScene
    mask = None
    try:
        _addCt(result, scene.GenerateUniqueName(f"{name} {modalityOf(result.report).upper()}"), scene)
        mask = _maskOf(result, f"{name} mask") if result.mask is not None else None
        for node in (result.ct, mask) if mask is not None else (result.ct,):
            _remember(node, settings, result.report)
            if inputNode is not None and inputNode.GetScene() is not None:  # else removed during the run
                _placeBeside(node, inputNode)
    except BaseException:
        removeResult(result.ct, mask)
        raise
    return ResultNodes(result.ct, mask)


def removeResult(*nodes: Any) -> None:
    """Take nodes and how they are displayed out of the scene, as far as there are any and they are in one."""
    for node in nodes:
        if node is not None and node.GetScene() is not None:
            scene = node.GetScene()
            displays = [node.GetNthDisplayNode(number) for number in range(node.GetNumberOfDisplayNodes())]
            scene.RemoveNode(node)
            for display in displays:
                scene.RemoveNode(display)


def modalityOf(report: Mapping[str, Any]) -> str:
    """``ct`` or ``mr``."""
    return str(report.get("modality", "ct"))


def showResult(nodes: ResultNodes) -> None:
    """Show the CT as background of all slice views, centered, with the mask over it."""
    scene = nodes.ct.GetScene()
    for composite in _nodes(scene, "vtkMRMLSliceCompositeNode"):
        composite.SetBackgroundVolumeID(nodes.ct.GetID())
    nodes.ct.SetDisplayVisibility(True)
    if nodes.mask is not None:
        nodes.mask.SetDisplayVisibility(True)
    bounds = [0.0] * 6
    nodes.ct.GetRASBounds(bounds)
    center = [(low + high) / 2 for low, high in zip(bounds[::2], bounds[1::2], strict=True)]
    jumpTo(center, scene)


def jumpTo(position: Any, scene: Any = None) -> None:
    """Move all slice views to a position (RAS mm) and center it."""
    for sliceNode in _nodes(scene or slicer.mrmlScene, "vtkMRMLSliceNode"):
        sliceNode.JumpSliceByCentering(*position)


def isResult(node: Any) -> bool:
    """Whether a run has made this node."""
    return bool(node.GetAttribute(REPORT_ATTRIBUTE))


def storedSettings(node: Any) -> dict[str, Any] | None:
    """The settings that a result was made with; None for nodes that are no result."""
    return _stored(node, SETTINGS_ATTRIBUTE)


def storedReport(node: Any) -> dict[str, Any] | None:
    """The report of a result; None for nodes that are no result."""
    return _stored(node, REPORT_ATTRIBUTE)


def storedSeed(node: Any) -> int | None:
    """The seed that gave a result; None for nodes that are no result."""
    text = node.GetAttribute(SEED_ATTRIBUTE)
    return int(text) if text else None


def results(scene: Any = None) -> list[ResultNodes]:
    """All results in the scene, the oldest first."""
    volumes = _nodes(scene or slicer.mrmlScene, "vtkMRMLScalarVolumeNode")
    return [ResultNodes(ct, ct.GetNodeReference(MASK_ROLE)) for ct in volumes if isResult(ct)]


def hierarchyItem(node: Any) -> tuple[Any, int]:
    """The subject hierarchy and the item of a node in it, which is made where Slicer has not done it yet."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    item = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    return hierarchy, int(item)


def _read(path: Path) -> Generator[None, None, Voxels | None]:
    """The voxels of a file, read in a thread; None for a file that is left to Slicer, and for one that is damaged."""

    def read() -> Voxels | None:
        try:
            return readNifti(path)
        except (OSError, EOFError, ValueError, zlib.error):
            return None

    voxels = yield from inBackground(read)
    return voxels


def _image(path: Path, voxels: Voxels | None, node: Any) -> Any:
    """The image of a file, whose position goes to the node."""
    if voxels is None:
        return _readBySlicer(path, node)
    image = vtk.vtkImageData()
    fillImage(image, voxels[0])
    node.SetIJKToRASMatrix(matrixFromArray(voxels[1]))
    return image


def _addCt(result: ReadResult, name: str, scene: Any) -> None:
    """The volume node of a CT into the scene, with its window."""
    node = result.ct
    node.SetName(name)
    scene.AddNode(node)
    if modalityOf(result.report) == "ct":
        # Before there are voxels: Slicer would look at all of them for a window of its own.
        applyWindow(node, windowForRegion(result.report.get("region", ())))
        node.SetAndObserveImageData(result.image)
    else:  # MR has no unit that a window could be said in
        node.SetAndObserveImageData(result.image)
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetAutoWindowLevel(True)


def _readBySlicer(path: Path, node: Any) -> Any:
    """The image of a file, whose position goes to the node."""
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    if not isComplete(path) or not storage.ReadData(node) or node.GetImageData() is None:
        raise RuntimeError(_("The CT {name} cannot be read.").format(name=path.name))
    return node.GetImageData()


def _maskOf(result: ReadResult, name: str) -> Any:
    """The mask of a CT as segmentation that it refers to."""
    labels: tuple[Any, ...] = (result.mask,) if result.ids is None else result.ids
    mask = importLabelmap(*labels, name=name, scene=result.ct.GetScene())
    mask.SetReferenceImageGeometryParameterFromVolumeNode(result.ct)
    result.ct.SetNodeReferenceID(MASK_ROLE, mask.GetID())
    return mask


def _remember(node: Any, settings: Mapping[str, Any], report: Mapping[str, Any]) -> None:
    node.SetAttribute(SETTINGS_ATTRIBUTE, json.dumps(dict(settings), default=str))
    node.SetAttribute(REPORT_ATTRIBUTE, json.dumps(report))
    node.SetAttribute(SEED_ATTRIBUTE, str(report["seed"]))
    node.SetDescription(str(report["disclaimer"]))


def _stored(node: Any, attribute: str) -> dict[str, Any] | None:
    text = node.GetAttribute(attribute)
    return json.loads(text) if text else None


def _placeBeside(node: Any, inputNode: Any) -> None:
    hierarchy, inputItem = hierarchyItem(inputNode)
    _hierarchy, item = hierarchyItem(node)
    hierarchy.SetItemParent(item, hierarchy.GetItemParent(inputItem))


def _nodes(scene: Any, className: str) -> list[Any]:
    return [scene.GetNthNodeByClass(index, className) for index in range(scene.GetNumberOfNodesByClass(className))]
