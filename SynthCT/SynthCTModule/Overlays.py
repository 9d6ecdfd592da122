"""Hiding all segmentations and label layers for a while; several may ask for it, and all come back as they were."""

from __future__ import annotations

from typing import Any

import slicer

HIDDEN_ATTRIBUTE = "SynthCT.HiddenFor"
"""On a segmentation or slice view: who asked to hide it. It was visible before. Kept in the scene, so that a teacher
who opens a saved quiz gets it back."""
OPACITY_ATTRIBUTE = "SynthCT.LabelOpacity"
"""On a slice view: how opaque its label layer was."""


def hideOverlays(reason: str, scene: Any = None) -> None:
    """Hide what is visible of them; ``reason``: one word, for :func:`showOverlays`. A second call finds new ones."""
    for node in _overlays(scene):
        reasons = _reasons(node)
        if not reasons and not _visible(node):
            continue
        if not reasons:
            _hide(node)
        node.SetAttribute(HIDDEN_ATTRIBUTE, " ".join(sorted({*reasons, reason})))


def showOverlays(reason: str, scene: Any = None) -> None:
    """Show what was hidden for this reason, unless another one is left."""
    for node in _overlays(scene):
        reasons = _reasons(node)
        if reason not in reasons:
            continue
        left = reasons - {reason}
        node.SetAttribute(HIDDEN_ATTRIBUTE, " ".join(sorted(left)) or None)
        if not left:
            _show(node)


def _overlays(scene: Any) -> list[Any]:
    scene = scene or slicer.mrmlScene
    classes = ("vtkMRMLSegmentationNode", "vtkMRMLSliceCompositeNode")
    nodes = [scene.GetNthNodeByClass(n, name) for name in classes for n in range(scene.GetNumberOfNodesByClass(name))]
    return [node for node in nodes if _isLabelLayer(node) or node.GetDisplayNode() is not None]


def _isLabelLayer(node: Any) -> bool:
    return bool(node.IsA("vtkMRMLSliceCompositeNode"))


def _reasons(node: Any) -> set[str]:
    return set((node.GetAttribute(HIDDEN_ATTRIBUTE) or "").split())


def _visible(node: Any) -> bool:
    return bool(node.GetLabelOpacity() if _isLabelLayer(node) else node.GetDisplayNode().GetVisibility())


def _hide(node: Any) -> None:
    if _isLabelLayer(node):
        node.SetAttribute(OPACITY_ATTRIBUTE, str(node.GetLabelOpacity()))
        node.SetLabelOpacity(0)
    else:
        node.GetDisplayNode().SetVisibility(False)


def _show(node: Any) -> None:
    if _isLabelLayer(node):
        node.SetLabelOpacity(float(node.GetAttribute(OPACITY_ATTRIBUTE) or 1))
        node.SetAttribute(OPACITY_ATTRIBUTE, None)
    else:
        node.GetDisplayNode().SetVisibility(True)
