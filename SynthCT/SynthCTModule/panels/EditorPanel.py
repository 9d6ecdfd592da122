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
        self._shown = self._observing = False
        # The source volume is there for its grid and its gray values; what the views show is the user's choice.
        self.ui.segmentEditorWidget.autoShowSourceVolumeNode = False
        self.ui.editorGroupBox.connect("toggled(bool)", lambda _on: self._onToggled())
        self.logic.anatomyWillChange.connect(self._saveForUndo)
        self.logic.segmentChosen.connect(self._onSegmentChosen)

    def update(self) -> None:
        if not self.ui.editorGroupBox.collapsed:
            self._attach()
        self._observeViews()

    def enter(self) -> None:
        self._shown = True
        self._observeViews()

    def exit(self) -> None:
        """Put the active effect away: it would go on drawing in the views while another module is shown."""
        editor = self.ui.segmentEditorWidget
        editor.setActiveEffectByName("")
        if self.node is None:
            editor.setSegmentationNode(None)
            editor.setMRMLSegmentEditorNode(None)
        else:
            self._shown = False
        self._observeViews()

    def _onToggled(self) -> None:
        if self.ui.editorGroupBox.collapsed:
            self.ui.segmentEditorWidget.setActiveEffectByName("")
        elif self.node is not None:
            self._attach()
        self._observeViews()

    def _observeViews(self) -> None:
        """The editor listens to the views only while it can be seen."""
        wanted = self._shown and self.node is not None and not self.ui.editorGroupBox.collapsed
        if wanted and not self._observing:
            self.ui.segmentEditorWidget.setupViewObservations()
        elif self._observing and not wanted:
            self.ui.segmentEditorWidget.removeViewObservations()
        self._observing = wanted

    def _attach(self) -> None:
        editor, node = self.ui.segmentEditorWidget, self.node.inputNode
        if editor.mrmlSegmentEditorNode() is None:
            editor.setMRMLSegmentEditorNode(_editorNode())
        segmentation = node if node is not None and node.IsA("vtkMRMLSegmentationNode") else None
        if editor.segmentationNode() is not segmentation:
            editor.setSegmentationNode(segmentation)
        if segmentation is None:
            return
        source = self.node.resultVolume or _template(segmentation)
        if editor.sourceVolumeNode() is not source:
            editor.setSourceVolumeNode(source)

    def _saveForUndo(self) -> None:
        """A button is about to change the segmentation: the editor's Undo shall bring it back."""
        if self.node.inputNode is not None:
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
