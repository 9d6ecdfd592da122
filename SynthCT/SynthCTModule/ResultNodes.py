"""The result of a run as nodes beside its input: CT and mask, with settings, seed and report stored on them.

A model that takes no segmentation makes a CT, or an MR image, without a mask.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer

from SynthCTModule.FileCheck import isComplete
from SynthCTModule.SegmentationExchange import importLabelmap
from SynthCTModule.Translation import _
from SynthCTModule.WindowPresets import applyWindow, windowForRegion

SETTINGS_ATTRIBUTE = "SynthCT.Settings"
SEED_ATTRIBUTE = "SynthCT.Seed"
REPORT_ATTRIBUTE = "SynthCT.Report"
MASK_ROLE = "SynthCT.mask"
"""Node reference from the CT to the mask that it was made from."""


@dataclass(frozen=True)
class ResultNodes:
    """``ct``: vtkMRMLScalarVolumeNode, in HU unless it is MR; ``mask``: vtkMRMLSegmentationNode on its grid or None."""

    ct: Any
    mask: Any


def importResult(
    files: Mapping[str, Path | str], inputNode: Any, settings: Mapping[str, Any], name: str, scene: Any = None
) -> ResultNodes:
    """Load the files of a result (``ct`` or ``mr``, ``mask``, ``report``) beside ``inputNode``, which stays as it is.

    Without an input they come to the end of the scene's hierarchy. The nodes keep no link to the files, which the
    caller may remove. ``settings``: plain values of the run. A name that is taken gets a number, so that several
    results stay side by side. Raises RuntimeError when a file cannot be read; then no node is left behind.
    """
    scene = scene or slicer.mrmlScene
    report = json.loads(Path(files["report"]).read_text(encoding="utf-8"))
    modality = modalityOf(report)
    ct = _readCt(files[modality], scene.GenerateUniqueName(f"{name} {modality.upper()}"), scene)
    mask = _maskOf(ct, files["mask"], f"{name} mask") if "mask" in files else None
    for node in (ct, mask) if mask is not None else (ct,):
        _remember(node, settings, report)
        if inputNode is not None and inputNode.GetScene() is not None:  # else removed during the run
            _placeBeside(node, inputNode)
    if modality == "ct":
        applyWindow(ct, windowForRegion(report.get("region", ())))
    else:  # MR has no unit that a window could be said in
        ct.CreateDefaultDisplayNodes()
        ct.GetDisplayNode().SetAutoWindowLevel(True)
    return ResultNodes(ct, mask)


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


def _readCt(path: Path | str, name: str, scene: Any) -> Any:
    node = slicer.vtkMRMLScalarVolumeNode()
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    if not isComplete(Path(path)) or not storage.ReadData(node) or node.GetImageData() is None:
        raise RuntimeError(_("The CT {name} cannot be read.").format(name=Path(path).name))
    node.SetName(name)
    scene.AddNode(node)
    return node


def _maskOf(ct: Any, path: Path | str, name: str) -> Any:
    """The mask of a CT as segmentation that it refers to; when it cannot be read, the CT goes, too."""
    try:
        mask = importLabelmap(path, name=name, scene=ct.GetScene())
    except (RuntimeError, ValueError):
        ct.GetScene().RemoveNode(ct)
        raise
    mask.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    ct.SetNodeReferenceID(MASK_ROLE, mask.GetID())
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
