"""Follows the chosen anatomy: whatever is drawn, renamed, added or removed in it, here or in another module."""

from __future__ import annotations

import time
from typing import Any

import qt
import slicer
from slicer.util import VTKObservationMixin

from SynthCTModule.Signal import Signal

PAUSE = 400
"""Milliseconds without an edit after which the panels look at the anatomy again; a brush stroke is many edits."""
SHARE = 5
"""The pause is at least so many times as long as the last look took: who draws on a large grid is not held up."""


class InputObserver(VTKObservationMixin):
    """``changed()``: the observed node has changed, or is another one; told once when edits pause.

    ``version`` is another number then, so that what was computed from the node can be kept for as long as it is true.
    A segmentation node passes the events of its vtkSegmentation on, whose modification time stays when segments change.
    """

    def __init__(self) -> None:
        super().__init__()
        self.changed = Signal()
        self.node: Any = None
        self.version = 0
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE)
        self._timer.connect("timeout()", self._tell)

    def observe(self, node: Any) -> None:
        """Follow this node, or none, in place of the earlier one."""
        if node is self.node:
            return
        self.removeObservers()
        self.node = node
        self.version += 1
        self._timer.stop()
        for event in _events(node):
            self.addObserver(node, event, self._onEvent)

    def settle(self) -> None:
        """Tell now what has not been told yet."""
        if self._timer.isActive():
            self._timer.stop()
            self._tell()

    def _onEvent(self, _caller: Any, _event: Any) -> None:
        self._timer.start()

    def _tell(self) -> None:
        self.version += 1
        began = time.monotonic()
        self.changed.emit()
        self._timer.setInterval(max(PAUSE, round(1000 * SHARE * (time.monotonic() - began))))


def _events(node: Any) -> list[int]:
    if node is None:
        return []
    transformed = slicer.vtkMRMLTransformableNode.TransformModifiedEvent
    if not node.IsA("vtkMRMLSegmentationNode"):
        colored = slicer.vtkMRMLDisplayableNode.DisplayModifiedEvent
        return [transformed, colored, slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent]
    segmentation = slicer.vtkSegmentation
    return [
        transformed,
        segmentation.SegmentAdded,
        segmentation.SegmentRemoved,
        segmentation.SegmentModified,
        segmentation.SourceRepresentationModified,
        slicer.vtkMRMLSegmentationNode.ReferenceImageGeometryChangedEvent,
    ]
