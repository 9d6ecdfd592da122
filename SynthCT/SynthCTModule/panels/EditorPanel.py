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
        self._geometries: dict[str, Any] = {}
        self.ui.editorGroupBox.connect("toggled(bool)", lambda _on: self._onToggled())
        self.logic.anatomyWillChange.connect(self._saveForUndo)
        self.logic.segmentChosen.connect(self._onSegmentChosen)

    def update(self) -> None:
        if not self.ui.editorGroupBox.collapsed:
            self._attach()

    def exit(self) -> None:
        """Put the active effect away: it would go on drawing in the views while another module is shown."""
        editor = self.ui.segmentEditorWidget
        editor.setActiveEffectByName("")
        editor.removeViewObservations()
        if self.node is None:
            editor.setSegmentationNode(None)
            editor.setMRMLSegmentEditorNode(None)

    def enter(self) -> None:
        self.ui.segmentEditorWidget.setupViewObservations()

    def _onToggled(self) -> None:
        if self.ui.editorGroupBox.collapsed:
            self.ui.segmentEditorWidget.setActiveEffectByName("")
        elif self.node is not None:
            self._attach()

    def _attach(self) -> None:
        editor, node = self.ui.segmentEditorWidget, self.node.inputNode
        if editor.mrmlSegmentEditorNode() is None:
            editor.setMRMLSegmentEditorNode(_editorNode())
        segmentation = node if node is not None and node.IsA("vtkMRMLSegmentationNode") else None
        if editor.segmentationNode() is not segmentation:
            editor.setSegmentationNode(segmentation)
            if segmentation is not None:
                editor.setSourceVolumeNode(self._geometry(segmentation))

    def _geometry(self, segmentation: Any) -> Any:
        """The editor's tools want a source volume; without a CT it is an empty one on the segmentation's own grid."""
        known = slicer.mrmlScene.GetNodeByID(self._geometries.get(segmentation.GetID(), ""))
        if known is not None:
            return known
        grid = referenceGrid(segmentation)
        if grid is None:
            return None
        volume = templateVolume(grid, _("Empty grid of {name}").format(name=segmentation.GetName()))
        drawOn(segmentation, volume)
        self._geometries[segmentation.GetID()] = volume.GetID()
        return volume

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


def _editorNode() -> Any:
    scene = slicer.mrmlScene
    node = scene.GetSingletonNode(EDITOR_TAG, "vtkMRMLSegmentEditorNode")
    if node is None:
        node = slicer.vtkMRMLSegmentEditorNode()
        node.SetSingletonTag(EDITOR_TAG)
        node = scene.AddNode(node)
    return node
