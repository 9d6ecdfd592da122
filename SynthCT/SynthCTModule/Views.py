"""What the slice views show: two volumes side by side and linked, or all views fitted to one."""

from __future__ import annotations

from typing import Any

import slicer

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


def fitViews() -> None:
    """Zoom all slice views to what they show."""
    logics = slicer.app.layoutManager().mrmlSliceLogics()
    for index in range(logics.GetNumberOfItems()):
        logics.GetItemAsObject(index).FitSliceToBackground()
