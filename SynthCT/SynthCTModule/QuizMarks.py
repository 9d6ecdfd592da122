"""Points, lines and marks in the views by which quiz questions are asked and answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer

from SynthCTModule.Overlays import hideOverlays, showOverlays

Point = tuple[float, float, float]
_QUIZ = "quiz"


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
        """Remove the mark and wait no longer; the mouse moves the views again."""
        if self._node is None:
            return
        node, self._node = self._node, None
        node.RemoveObserver(self._tag)
        _endPlacing(node)
        scene = node.GetScene()
        if scene is not None:
            for number in reversed(range(node.GetNumberOfDisplayNodes())):
                scene.RemoveNode(node.GetNthDisplayNode(number))
            scene.RemoveNode(node)

    def _begin(self, className: str, name: str, event: int) -> None:
        self.stop()
        self._node = slicer.mrmlScene.AddNewNodeByClass(className, name)
        self._node.CreateDefaultDisplayNodes()
        self._tag = self._node.AddObserver(event, self._onEvent)
        _startPlacing(self._node)

    def _onEvent(self, node: Any, _event: Any) -> None:
        """Slicer's widget still works with the node that it has placed a point in, so the answer waits for it."""
        position = [0.0, 0.0, 0.0]
        node.GetNthControlPointPositionWorld(node.GetNumberOfControlPoints() - 1, position)
        qt.QTimer.singleShot(0, lambda: self._handOver(node, (position[0], position[1], position[2])))

    def _handOver(self, node: Any, point: Point) -> None:
        if node is self._node:
            self._onPoint(point)


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
    """Shows one structure of a mask without its name, as the subject of a question, and no other overlay."""

    def __init__(self) -> None:
        self._mask: Any = None
        self._segments: dict[str, bool] = {}

    def hideAll(self) -> None:
        """Hide every overlay, as it would give answers away."""
        self._unmark()
        hideOverlays(_QUIZ)

    def show(self, mask: Any, segmentId: str) -> None:
        """Show this segment alone."""
        self.hideAll()
        display = mask.GetDisplayNode()
        if mask.GetScene() is None or display is None:  # deleted by the user
            return
        segmentIds = mask.GetSegmentation().GetSegmentIDs()
        self._mask, self._segments = mask, {one: bool(display.GetSegmentVisibility(one)) for one in segmentIds}
        display.SetAllSegmentsVisibility(False)
        display.SetSegmentVisibility(segmentId, True)
        display.SetVisibility(True)

    def clear(self) -> None:
        """Show all as it was before."""
        self._unmark()
        showOverlays(_QUIZ)

    def _unmark(self) -> None:
        mask, self._mask = self._mask, None
        if mask is None or mask.GetScene() is None or mask.GetDisplayNode() is None:
            return
        display = mask.GetDisplayNode()
        display.SetVisibility(False)
        for segmentId, visible in self._segments.items():
            display.SetSegmentVisibility(segmentId, visible)


def _startPlacing(node: Any) -> None:
    """As Slicer's place button does; the markups logic's StartPlaceMode would always place points."""
    selection, interaction = _placing()
    selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
    selection.SetReferenceActivePlaceNodeID(node.GetID())
    interaction.SetPlaceModePersistence(0)
    interaction.SetCurrentInteractionMode(interaction.Place)


def _endPlacing(node: Any) -> None:
    """The next click of the mouse places no point; nothing where another node's points are placed meanwhile."""
    selection, interaction = _placing()
    if selection.GetActivePlaceNodeID() != node.GetID():
        return
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    selection.SetReferenceActivePlaceNodeID(None)


def _placing() -> tuple[Any, Any]:
    logic = slicer.app.applicationLogic()
    return logic.GetSelectionNode(), logic.GetInteractionNode()
