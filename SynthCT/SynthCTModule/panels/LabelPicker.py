"""Add structures: all known labels, searched by name in Slicer's language and English, by organ system and region."""

from __future__ import annotations

from typing import Any

import qt

from SynthCTModule.LabelColors import labelColor, vocabulary
from SynthCTModule.LabelGroups import groupName, regionName
from SynthCTModule.LabelNames import labelName, searchLabels
from SynthCTModule.panels.Panel import Panel, setEnabled, shownErrors
from SynthCTModule.panels.ProblemTable import dot
from SynthCTModule.SegmentationExchange import addLabelSegment
from SynthCTModule.SegmentLabels import resolveSegments
from SynthCTModule.Translation import _

_ID = 256
"""Qt.UserRole: the label id of a row."""


class LabelPicker(Panel):
    """Group *Add structures* of the section *Anatomy*."""

    def setup(self) -> None:
        ui = self.ui
        self._filled, self._addTip = False, ui.addLabelButton.toolTip
        ui.labelsGroupBox.connect("toggled(bool)", lambda _on: self._fill())
        ui.labelSearchLineEdit.connect("textChanged(QString)", lambda _text: self._filter())
        ui.labelGroupComboBox.connect("currentIndexChanged(int)", lambda _index: self._filter())
        ui.labelRegionComboBox.connect("currentIndexChanged(int)", lambda _index: self._filter())
        ui.labelTree.connect("itemDoubleClicked(QTreeWidgetItem*,int)", lambda _item, _column: self.add())
        ui.labelTree.connect("itemSelectionChanged()", self._updateButton)
        ui.addLabelButton.connect("clicked(bool)", lambda _checked: self.add())

    def update(self) -> None:
        self._fill()
        self._updateButton()

    def add(self) -> None:
        """Add the selected structure to the segmentation, or go to the segment that it already has."""
        labelId, node = chosenLabel(self.ui.labelTree), self.node.inputNode
        if labelId is None or node is None or not node.IsA("vtkMRMLSegmentationNode"):
            return
        with shownErrors():
            present = {segment.labelId: segment.segmentId for segment in resolveSegments(node)}
            segmentId = present.get(labelId) or addLabelSegment(node, labelId)
            self.logic.input.settle()
            self.logic.segmentChosen.emit(segmentId)

    def _fill(self) -> None:
        if self._filled:
            return
        self._filled = True
        from SynthCTLib.regions import REGIONS

        groups = sorted({label.group for label in vocabulary().classes_127()})
        self.ui.labelGroupComboBox.addItem(_("All systems"), "")
        for group in groups:
            self.ui.labelGroupComboBox.addItem(groupName(group), group)
        self.ui.labelRegionComboBox.addItem(_("All regions"), "")
        for region in REGIONS:
            self.ui.labelRegionComboBox.addItem(regionName(region), region)
        self._filter()

    def _filter(self) -> None:
        """Show the structures that match, best matches first within their group."""
        group, region = self.ui.labelGroupComboBox.currentData, self.ui.labelRegionComboBox.currentData
        words = self.ui.labelSearchLineEdit.text
        found: dict[str, list[Any]] = {}
        for label in searchLabels(words):
            if (not group or label.group == group) and (not region or region in label.regions):
                found.setdefault(label.group, []).append(label)
        tree = self.ui.labelTree
        tree.clear()
        few = sum(map(len, found.values())) <= 15
        for name, labels in found.items() if words else sorted(found.items()):
            parent = qt.QTreeWidgetItem(tree)
            parent.setText(0, f"{groupName(name)} ({len(labels)})")
            for label in labels:
                _addRow(parent, label)
            parent.setExpanded(few or bool(group))
        if words and found:
            tree.setCurrentItem(tree.topLevelItem(0).child(0))
        self._updateButton()

    def _updateButton(self) -> None:
        node = self.node.inputNode if self.node is not None else None
        canAdd = node is not None and node.IsA("vtkMRMLSegmentationNode")
        reason = "" if canAdd else _("Choose a segmentation first; a label map cannot be edited.")
        unchosen = "" if chosenLabel(self.ui.labelTree) is not None else _("Choose a structure in the list first.")
        setEnabled(self.ui.addLabelButton, reason or unchosen, self._addTip)


def chosenLabel(labelTree: Any) -> int | None:
    """Id of the structure that is selected in the list."""
    item = labelTree.currentItem()
    value = item.data(0, _ID) if item is not None else None
    return int(value) if value is not None else None


def _addRow(parent: Any, label: Any) -> None:
    row = qt.QTreeWidgetItem(parent)
    row.setText(0, labelName(label.id))
    row.setData(0, _ID, label.id)
    row.setIcon(0, dot(_hex(labelColor(label.id))))
    row.setToolTip(0, ", ".join(dict.fromkeys((labelName(label.id), *label.all_names))))


def _hex(color: tuple[float, float, float]) -> str:
    red, green, blue = (round(255 * part) for part in color)
    return f"#{red:02x}{green:02x}{blue:02x}"
