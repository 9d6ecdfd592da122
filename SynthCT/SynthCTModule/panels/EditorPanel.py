"""Draw: Slicer's Segment Editor on the chosen segmentation, with a state of its own."""

from __future__ import annotations

from typing import Any

import slicer

from SynthCTModule.GridBox import drawOn, templateVolume
from SynthCTModule.panels.Panel import Panel
from SynthCTModule.SegmentationLayers import referenceGrid
from SynthCTModule.Translation import _

EDITOR_TAG = "SynthCT.SegmentEditor"
"""Singleton tag: the module's own editor state, apart from that of Slicer's Segment Editor module."""


class EditorPanel(Panel):
    """Group *Draw* of the section *Anatomy*."""

    def setup(self) -> None:
        self._isUsed = False
        # The source volume is there for its grid and its gray values; what the views show is the user's choice.
        self.ui.segmentEditorWidget.autoShowSourceVolumeNode = False
        self.ui.editorGroupBox.connect("toggled(bool)", lambda _on: self._onToggled())
        self.logic.anatomyWillChange.connect(self._saveForUndo)
        self.logic.segmentChosen.connect(self._onSegmentChosen)

    def update(self) -> None:
        if not self.ui.editorGroupBox.collapsed:
            self._attach()
        elif self._isUsed:
            self._prepare()

    def exit(self) -> None:
        """Put the active effect away: it would go on drawing in the views while another module is shown."""
        editor = self.ui.segmentEditorWidget
        editor.setActiveEffectByName("")
        if self.node is None:
            editor.setSegmentationNode(None)
            if not slicer.mrmlScene.IsClosing():  # the module goes; its successor works with the same state
                editor.setMRMLSegmentEditorNode(None)
                editor.setMRMLScene(None)

    def _onToggled(self) -> None:
        if self.ui.editorGroupBox.collapsed:
            self.ui.segmentEditorWidget.setActiveEffectByName("")
        elif self.node is not None:
            self._attach()

    def _prepare(self) -> None:
        """Give the editor its state and the scene, in this order.

        In a scene the editor selects the first segmentation by itself, which it cannot keep without a state.
        """
        editor = self.ui.segmentEditorWidget
        state = editor.mrmlSegmentEditorNode()
        if state is None or state.GetScene() is None:
            editor.setMRMLSegmentEditorNode(_editorNode())
        editor.setMRMLScene(slicer.mrmlScene)
        self._isUsed = True

    def _attach(self) -> None:
        self._prepare()
        editor, segmentation = self.ui.segmentEditorWidget, self._segmentation()
        # What is set already is left alone by the editor; its own answer is what its hidden selectors show.
        editor.setSegmentationNode(segmentation)
        if segmentation is not None:
            editor.setSourceVolumeNode(self.node.resultVolume or _template(segmentation))

    def _segmentation(self) -> Any:
        """The chosen anatomy where it can be edited, else None."""
        node = self.node.inputNode
        return node if node is not None and node.IsA("vtkMRMLSegmentationNode") else None

    def _saveForUndo(self) -> None:
        """A button is about to change the segmentation: the editor's Undo shall bring it back."""
        if self._segmentation() is not None:
            self._attach()
            self.ui.segmentEditorWidget.saveStateForUndo()

    def _onSegmentChosen(self, segmentId: str) -> None:
        """A structure has been added: open the editor on it, so that drawing can start."""
        self.ui.editorGroupBox.collapsed = False
        self._attach()
        self.ui.segmentEditorWidget.setCurrentSegmentID(segmentId)


def _template(segmentation: Any) -> Any:
    """The editor's tools want a source volume; without a CT it is the one drawn on, or an empty one on its grid."""
    known = segmentation.GetNodeReference(segmentation.GetReferenceImageGeometryReferenceRole())
    if known is not None:
        return known
    grid = referenceGrid(segmentation)
    if grid is None:
        return None
    volume = templateVolume(grid, _("Empty grid of {name}").format(name=segmentation.GetName()))
    drawOn(segmentation, volume)
    return volume


def _editorNode() -> Any:
    scene = slicer.mrmlScene
    node = scene.GetSingletonNode(EDITOR_TAG, "vtkMRMLSegmentEditorNode")
    if node is None:
        node = slicer.vtkMRMLSegmentEditorNode()
        node.SetSingletonTag(EDITOR_TAG)
        node = scene.AddNode(node)
    return node
