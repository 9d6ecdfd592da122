"""Points, lines and marks in the views by which quiz questions are asked and answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

Point = tuple[float, float, float]


class PointPicker:
    """Lets the user click one point in the views and hands over its position."""

    def __init__(self, onPoint: Callable[[Point], None]) -> None:
        self._onPoint = onPoint
        self._node: Any = None
        self._tag = 0

    def start(self, name: str) -> None:
        """Wait for one click; an earlier wait ends."""
        self._begin("vtkMRMLMarkupsFiducialNode", name, slicer.vtkMRMLMarkupsNode.PointPositionDefinedEvent)

    def stop(self) -> None:
        """Remove the mark and wait no longer."""
        if self._node is not None:
            self._node.RemoveObserver(self._tag)
            slicer.mrmlScene.RemoveNode(self._node)
            self._node = None

    def _begin(self, className: str, name: str, event: int) -> None:
        self.stop()
        self._node = slicer.mrmlScene.AddNewNodeByClass(className, name)
        self._node.CreateDefaultDisplayNodes()
        self._tag = self._node.AddObserver(event, self._onEvent)
        logic = slicer.modules.markups.logic()
        logic.SetActiveList(self._node)
        logic.StartPlaceMode(False)

    def _onEvent(self, node: Any, _event: Any) -> None:
        position = [0.0, 0.0, 0.0]
        node.GetNthControlPointPositionWorld(node.GetNumberOfControlPoints() - 1, position)
        self._onPoint((position[0], position[1], position[2]))


class Ruler(PointPicker):
    """Lets the user draw one line in the views and hands over its length in mm as long as it changes."""

    def __init__(self, onLength: Callable[[float], None]) -> None:
        super().__init__(lambda _point: None)
        self._onLength = onLength

    def start(self, name: str) -> None:
        """Wait for a line; an earlier one goes."""
        self._begin("vtkMRMLMarkupsLineNode", name, slicer.vtkMRMLMarkupsNode.PointModifiedEvent)

    def _onEvent(self, node: Any, _event: Any) -> None:
        if node.GetNumberOfDefinedControlPoints() == 2:
            self._onLength(float(node.GetLineLengthWorld()))


class StructureMark:
    """Shows one structure of a mask without its name, as the subject of a question."""

    def __init__(self) -> None:
        self._mask: Any = None
        self._visible = False

    def show(self, mask: Any, segmentId: str) -> None:
        """Show this segment alone."""
        self.clear()
        display = mask.GetDisplayNode()
        self._mask, self._visible = mask, bool(display.GetVisibility())
        display.SetAllSegmentsVisibility(False)
        display.SetSegmentVisibility(segmentId, True)
        display.SetVisibility(True)

    def clear(self) -> None:
        """Show the mask as it was before."""
        if self._mask is not None and self._mask.GetDisplayNode() is not None:
            self._mask.GetDisplayNode().SetAllSegmentsVisibility(True)
            self._mask.GetDisplayNode().SetVisibility(self._visible)
        self._mask = None
