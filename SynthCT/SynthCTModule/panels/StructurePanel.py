"""Change structures: grow, shrink, mirror, put a lesion into an organ; the window stays alive meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import slicer

from SynthCTModule.AnatomyEdits import growStructure, mirrorAnatomy, putLesion
from SynthCTModule.LabelColors import vocabulary
from SynthCTModule.LabelNames import labelName
from SynthCTModule.panels.Panel import Panel, choose, quiet, setEnabled, shownErrors
from SynthCTModule.SegmentLabels import resolveSegments
from SynthCTModule.Translation import _

_BUTTONS = ("growButton", "shrinkButton", "mirrorButton", "lesionButton")


class StructurePanel(Panel):
    """Group *Change structures* of the section *Anatomy*."""

    def setup(self) -> None:
        ui = self.ui
        self._tips = {name: getattr(ui, name).toolTip for name in _BUTTONS}
        for lesion in vocabulary().lesions():
            ui.lesionTypeComboBox.addItem(labelName(lesion.id), lesion.id)
        ui.lesionShapeComboBox.addItem(_("irregular"), True)
        ui.lesionShapeComboBox.addItem(_("round"), False)
        ui.growButton.connect("clicked(bool)", lambda _checked: self._grow(1))
        ui.shrinkButton.connect("clicked(bool)", lambda _checked: self._grow(-1))
        ui.mirrorButton.connect("clicked(bool)", lambda _checked: self._edit(mirrorAnatomy))
        ui.lesionButton.connect("clicked(bool)", lambda _checked: self._putLesion())

    def update(self) -> None:
        node = self.node.inputNode
        editable = node is not None and node.IsA("vtkMRMLSegmentationNode")
        reason = "" if editable else _("Choose a segmentation first; a label map cannot be edited.")
        reason = self.logic.unchangeable() or reason
        for name in _BUTTONS:
            setEnabled(getattr(self.ui, name), reason, self._tips[name])
        self._showStructures(resolveSegments(node) if editable else [])
        self._forgetStopped()

    def exit(self) -> None:
        """What was done to an anatomy is not said in the next scene."""
        self._forgetStopped()
        if self.node is None:
            self._say("")

    def _forgetStopped(self) -> None:
        """Of an edit that was given up nobody tells the end."""
        if not self.logic.edits.busy and self.ui.editResultLabel.text == _("Working…"):
            self._say("")

    def _showStructures(self, segments: list) -> None:
        """Known structures of the segmentation by name; the choice stays."""
        box = self.ui.structureComboBox
        before = box.currentData
        rows = sorted((segment.name, segment.labelId) for segment in segments if segment.labelId is not None)
        with quiet(box):
            box.clear()
            box.addItem(_("Any that fits"), None)
            for name, labelId in rows:
                box.addItem(name, labelId)
        choose(box, before)
        if box.currentIndex < 0:
            box.setCurrentIndex(0)

    def _grow(self, direction: int) -> None:
        labelId = self.ui.structureComboBox.currentData
        if labelId is None:
            slicer.util.errorDisplay(_("Choose the structure first."))
            return
        millimeters = direction * self.ui.growSpinBox.value
        self._edit(lambda node: growStructure(node, labelId, millimeters))

    def _putLesion(self) -> None:
        ui = self.ui
        self._edit(
            lambda node: putLesion(
                node,
                ui.lesionTypeComboBox.currentData,
                ui.lesionSizeSpinBox.value,
                ui.structureComboBox.currentData,
                bool(ui.lesionShapeComboBox.currentData),
                self.node.seed,
            )
        )

    def _edit(self, edit: Callable[[Any], Generator[None, None, str]]) -> None:
        """Begin an edit of the chosen segmentation."""
        with shownErrors():
            self.logic.edit(self._told(edit(self.node.inputNode)), self._edited)
            self._say(_("Working…"))

    def _told(self, work: Generator[None, None, str]) -> Generator[None, None, None]:
        """Say what has come out."""
        self._say((yield from work))

    def _edited(self, error: Exception | None) -> None:
        """Let the other panels look again."""
        with shownErrors():
            self.logic.input.settle()
            if error is not None:
                self._say("")
                raise error
        if error is not None:
            error.__traceback__ = None  # it is shown; its frames and those that hold it would keep the voxels for long

    def _say(self, text: str) -> None:
        self.ui.editResultLabel.text = text
        self.ui.editResultLabel.visible = bool(text)
