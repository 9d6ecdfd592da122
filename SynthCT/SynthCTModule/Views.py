"""What the slice views show: two volumes side by side and linked, or all views fitted to one."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from SynthCTModule.VoxelGrid import arrayFromMatrix

_MARGIN = 1.1
"""A view is so much wider than what it is fitted to."""
SIDES = ("Red", "Yellow")
"""The two views of Slicer's side-by-side layout."""


def showSideBySide(first: Any, second: Any) -> None:
    """Two volumes in linked axial views: scrolling and zooming one does the same in the other."""
    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView)
    for name, volume in zip(SIDES, (first, second), strict=True):
        logic = manager.sliceWidget(name).sliceLogic()
        composite = logic.GetSliceCompositeNode()
        composite.SetBackgroundVolumeID(volume.GetID())
        composite.SetLinkedControl(True)
        composite.SetHotLinkedControl(True)
        logic.GetSliceNode().SetOrientation("Axial")
        logic.FitSliceToBackground()


def fitViews(node: Any = None) -> None:
    """Zoom all slice views to the volumes that they show; those without one to a node (displayable, as segmentations).

    Each view stays on its slice.
    """
    logics = slicer.app.layoutManager().mrmlSliceLogics()
    for index in range(logics.GetNumberOfItems()):
        logic = logics.GetItemAsObject(index)
        if _showsVolume(logic.GetSliceCompositeNode()):
            logic.FitSliceToBackground()
        elif node is not None:
            _fitTo(logic.GetSliceNode(), node)


def _showsVolume(composite: Any) -> bool:
    return bool(composite.GetBackgroundVolumeID() or composite.GetForegroundVolumeID() or composite.GetLabelVolumeID())


def _fitTo(sliceNode: Any, node: Any) -> None:
    bounds = np.zeros(6)
    node.GetRASBounds(bounds)
    sizes = bounds[1::2] - bounds[::2]
    if (sizes <= 0).any():
        return
    offset = sliceNode.GetSliceOffset()
    sliceNode.JumpSliceByCentering(*(bounds[::2] + sizes / 2))
    sliceNode.SetSliceOffset(offset)
    axes = arrayFromMatrix(sliceNode.GetSliceToRAS())[:3, :2]
    width, height = np.abs(axes.T) @ sizes
    columns, rows = sliceNode.GetDimensions()[:2]
    step = _MARGIN * max(width / columns, height / rows)
    sliceNode.SetFieldOfView(step * columns, step * rows, sliceNode.GetFieldOfView()[2])
