"""Stand-ins for the qMRML widgets that the module's .ui uses, on a real MRML scene."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import slicer
from PySide6.QtCore import Property, Signal, Slot
from PySide6.QtWidgets import QComboBox, QLabel, QVBoxLayout, QWidget
from slicer import vtkMRMLScene

from Testing.module.bench.pythonqt import own_connect, with_habits


@own_connect
class qMRMLWidget(with_habits(QWidget)):  # type: ignore[misc]
    """The root of a module's .ui; gives its scene to the widgets that the .ui's connections name, and to no other."""

    isEntered = False
    mrmlSceneChanged = Signal("vtkMRMLScene*")
    _receivers: tuple[str, ...] = ()

    def setMRMLScene(self, scene: Any) -> None:
        """PySide6 has no type for the signal's argument, so that the widgets are called."""
        for name in self._receivers:
            self.findChild(QWidget, name).setMRMLScene(scene)


def _observe(widget: QWidget, scene: Any, event: int, function: Callable[[], None]) -> None:
    """Call the function on each such event of the scene, as long as the widget lives."""
    tag = scene.AddObserver(event, lambda _caller, _event: function())
    widget.destroyed.connect(lambda: scene.RemoveObserver(tag))


class _SortFilterProxyModel:
    """What a node selector leaves out."""

    def __init__(self, fill: Callable[[], None]) -> None:
        self._fill = fill
        self._hidden: list[str] = []

    @property
    def hiddenNodeIDs(self) -> tuple[str, ...]:
        """Ids of nodes that are not listed."""
        return tuple(self._hidden)

    @hiddenNodeIDs.setter
    def hiddenNodeIDs(self, ids: Sequence[str]) -> None:
        self._hidden = list(ids)
        self._fill()


@own_connect
class qMRMLNodeComboBox(with_habits(QComboBox)):  # type: ignore[misc]
    """Lists the scene's nodes of some classes and follows what is added and removed."""

    currentNodeChanged = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._types: list[str] = []
        self._none = False
        self._none_text = "Select a node"
        self._filter = _SortFilterProxyModel(self._fill)
        self.currentIndexChanged.connect(lambda _index: self.currentNodeChanged.emit(self.currentNode()))

    def _set_types(self, value: Any) -> None:
        self._types = list(value)
        self._fill()

    def _set_none(self, value: bool) -> None:
        self._none = bool(value)
        self._fill()

    def _set_none_text(self, value: str) -> None:
        self._none_text = value
        self._fill()

    nodeTypes = Property("QStringList", lambda self: self._types, _set_types)
    noneEnabled = Property(bool, lambda self: self._none, _set_none)
    noneDisplay = Property(str, lambda self: self._none_text, _set_none_text)
    addEnabled = Property(bool, lambda self: False, lambda self, value: None)
    removeEnabled = Property(bool, lambda self: False, lambda self, value: None)
    renameEnabled = Property(bool, lambda self: False, lambda self, value: None)
    editEnabled = Property(bool, lambda self: False, lambda self, value: None)
    showChildNodeTypes = Property(bool, lambda self: False, lambda self, value: None)

    @Slot("vtkMRMLScene*")
    def setMRMLScene(self, scene: Any) -> None:
        """Show the nodes of this scene from now on."""
        self._scene = scene
        for event in (vtkMRMLScene.NodeAddedEvent, vtkMRMLScene.NodeRemovedEvent, vtkMRMLScene.EndCloseEvent):
            _observe(self, scene, event, self._fill)
        _observe(self, scene, vtkMRMLScene.EndImportEvent, self._fill_anew)
        self._fill()

    def sortFilterProxyModel(self) -> _SortFilterProxyModel:
        """What is left out."""
        return self._filter

    def currentNode(self) -> Any:
        """The chosen node, or None."""
        identifier = self.currentData
        return self._scene.GetNodeByID(identifier) if identifier and self._scene else None

    def setCurrentNode(self, node: Any) -> None:
        """Choose a node; None chooses nothing."""
        self.setCurrentIndex(self.findData(node.GetID()) if node is not None else (0 if self._none else -1))

    def _fill_anew(self) -> None:
        """As qMRMLSceneModel::updateScene: all rows go and come back, and the choice with them."""
        self.setCurrentNode(None)
        self._fill()

    def _fill(self) -> None:
        if self._scene is None or self._scene.IsImporting():
            return
        before = self.currentNode()
        identifier = before.GetID() if before is not None else None
        self.blockSignals(True)
        self.clear()
        if self._none:
            self.addItem(self._none_text, None)
        for name in self._types:
            for index in range(self._scene.GetNumberOfNodesByClass(name)):
                node = self._scene.GetNthNodeByClass(index, name)
                # Slicer lists subclasses only where showChildNodeTypes is on, and hides what is hidden from editors.
                hidden = node.GetHideFromEditors() or node.GetID() in self._filter.hiddenNodeIDs
                if node.GetClassName() == name and not hidden:
                    self.addItem(node.GetName(), node.GetID())
        self.setCurrentIndex(self.findData(identifier) if identifier else (0 if self._none else -1))
        self.blockSignals(False)
        if self.currentNode() is not before:
            self.currentNodeChanged.emit(self.currentNode())


@own_connect
class qMRMLSegmentEditorWidget(with_habits(QWidget)):  # type: ignore[misc]
    """Remembers what it was given; draws nothing. Where Slicer's prints an error or a warning, this raises."""

    undo_states = 0
    autoShowSourceVolumeNode = Property(
        bool, lambda self: self._auto_show, lambda self, value: setattr(self, "_auto_show", value)
    )
    segmentationNodeSelectorVisible = Property(bool, lambda self: False, lambda self, value: None)
    sourceVolumeNodeSelectorVisible = Property(bool, lambda self: False, lambda self, value: None)
    switchToSegmentationsButtonVisible = Property(bool, lambda self: False, lambda self, value: None)
    addRemoveSegmentButtonsVisible = Property(bool, lambda self: False, lambda self, value: None)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._editor_node: Any = None
        self._selected: Any = None
        self._auto_show = True
        self.undo_states = 0
        layout = QVBoxLayout(self)
        layout.addWidget(QLabel("Slicer's Segment Editor", self))

    def mrmlScene(self) -> Any:
        """The scene that the hidden selectors list."""
        return self._scene

    @Slot("vtkMRMLScene*")
    def setMRMLScene(self, scene: Any) -> None:
        """From now on the first segmentation that comes is selected, whether or not the selector is shown."""
        if self._scene is None and scene is not None:
            _observe(self, scene, vtkMRMLScene.NodeAddedEvent, self._select_first)
        self._scene = scene

    def _select_first(self) -> None:
        if self._scene is None or self._scene.IsImporting():
            return
        node = self._scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
        if self._selected is None and node is not None:
            self._selected = node
            self.setSegmentationNode(node)

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        """The node that holds the editor's state; the selector shows what is in it."""
        self._editor_node = node
        if node is not None:
            self._selected = node.GetSegmentationNode()

    def mrmlSegmentEditorNode(self) -> Any:
        """The node that holds the editor's state."""
        return self._editor_node

    def setSegmentationNode(self, node: Any) -> None:
        """The segmentation to edit."""
        if self._editor_node is None:
            if node is not None:
                raise RuntimeError("need to set segment editor node first")
            return
        if node is not self._editor_node.GetSegmentationNode():
            self._editor_node.SetAndObserveSegmentationNode(node)
            self._selected = node
            self.setActiveEffectByName("")

    def segmentationNode(self) -> Any:
        """What the selector shows, which is not always the segmentation that is edited."""
        return self._selected

    def setSourceVolumeNode(self, node: Any) -> None:
        """The volume that gives the geometry; like Slicer's, shown in all slice views unless that is switched off."""
        if self._editor_node is None or self._editor_node.GetSegmentationNode() is None:
            if node is not None:
                raise RuntimeError("need to set segment editor and segmentation nodes first")
            return
        self._editor_node.SetAndObserveSourceVolumeNode(node)
        if self._auto_show and node is not None:
            for name in slicer.app.layoutManager().sliceViewNames():
                composite = slicer.app.layoutManager().sliceWidget(name).sliceLogic().GetSliceCompositeNode()
                composite.SetBackgroundVolumeID(node.GetID())

    def sourceVolumeNode(self) -> Any:
        """The volume that gives the geometry."""
        return self._editor_node.GetSourceVolumeNode() if self._editor_node is not None else None

    def setCurrentSegmentID(self, segment: str) -> None:
        """Choose a segment."""
        if self._editor_node is not None:
            self._editor_node.SetSelectedSegmentID(segment)

    def currentSegmentID(self) -> str:
        """The chosen segment."""
        return self._editor_node.GetSelectedSegmentID() if self._editor_node is not None else ""

    def setActiveEffectByName(self, name: str) -> None:
        """Choose an effect, which observes the views from then on; an empty name puts it away."""
        if self._editor_node is not None:
            self._editor_node.SetActiveEffectName(name)

    def saveStateForUndo(self) -> None:
        """Counts what could be undone."""
        if self._editor_node is None or self._editor_node.GetSegmentationNode() is None:
            raise RuntimeError("segmentation is invalid")
        self.undo_states += 1
