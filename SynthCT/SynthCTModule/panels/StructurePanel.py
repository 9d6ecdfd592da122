"""Change structures: grow, shrink, mirror, put a lesion into an organ."""

from __future__ import annotations

from collections.abc import Callable

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
        ui.mirrorButton.connect(
            "clicked(bool)", lambda _checked: self._edit(lambda: mirrorAnatomy(self.node.inputNode))
        )
        ui.lesionButton.connect("clicked(bool)", lambda _checked: self._putLesion())

    def update(self) -> None:
        node = self.node.inputNode
        editable = node is not None and node.IsA("vtkMRMLSegmentationNode")
        reason = "" if editable else _("Choose a segmentation first; a label map cannot be edited.")
        for name in _BUTTONS:
            setEnabled(getattr(self.ui, name), reason, self._tips[name])
        self._showStructures(resolveSegments(node) if editable else [])

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
        self._edit(lambda: growStructure(self.node.inputNode, labelId, direction * self.ui.growSpinBox.value))

    def _putLesion(self) -> None:
        ui = self.ui
        self._edit(
            lambda: putLesion(
                self.node.inputNode,
                ui.lesionTypeComboBox.currentData,
                ui.lesionSizeSpinBox.value,
                ui.structureComboBox.currentData,
                bool(ui.lesionShapeComboBox.currentData),
                self.node.seed,
            )
        )

    def _edit(self, action: Callable[[], str]) -> None:
        """Do it, say what has come out, and let the other panels look again."""
        with shownErrors():
            self.logic.anatomyWillChange.emit()
            self.ui.editResultLabel.text = action()
            self.ui.editResultLabel.visible = True
            self.logic.input.settle()
