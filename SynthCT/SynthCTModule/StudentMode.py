"""Student mode: names and colored overlays are hidden, and come back as they were."""

from __future__ import annotations

from typing import Any

import slicer

HIDDEN_ATTRIBUTE = "SynthCT.HiddenForStudents"
"""On a segmentation: it was visible before. Kept in the scene, so that a saved quiz can be opened by the teacher."""


def setStudentMode(on: bool, scene: Any = None) -> None:
    """Hide all segmentations, or show again those that were hidden here; the data probe goes with them."""
    scene = scene or slicer.mrmlScene
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLSegmentationNode")
        display = node.GetDisplayNode()
        if display is None:
            continue
        if on and display.GetVisibility():
            node.SetAttribute(HIDDEN_ATTRIBUTE, "1")
            display.SetVisibility(False)
        elif not on and node.GetAttribute(HIDDEN_ATTRIBUTE):
            node.RemoveAttribute(HIDDEN_ATTRIBUTE)
            display.SetVisibility(True)
    if slicer.util.mainWindow() is not None:
        slicer.util.setDataProbeVisible(not on)
