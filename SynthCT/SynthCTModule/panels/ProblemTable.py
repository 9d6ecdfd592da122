"""The table of problems: each in words, with a button or a list of answers where it can be put right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

from SynthCTModule.LabelNames import labelName
from SynthCTModule.panels.Panel import setEnabled
from SynthCTModule.SegmentationCheck import ADD_BODY, DROP, RENAME, RESAMPLE, SET_LABEL, Problem
from SynthCTModule.Translation import _

OnFix = Callable[[Problem, "int | None"], None]
_ROWS_SHOWN = 5


class ProblemTable:
    """``onFix(problem, labelId)`` is called when the user wants a problem solved; the label only where one is asked."""

    def __init__(self, table: Any, onFix: OnFix) -> None:
        self._table, self._onFix = table, onFix
        self.inputNode: Any = None
        self._answers: list[tuple[Any, str]] = []
        self._reason = ""
        table.horizontalHeader().setVisible(False)
        table.verticalHeader().setVisible(False)
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
        table.horizontalHeader().setSectionResizeMode(1, qt.QHeaderView.ResizeToContents)

    def show(self, problems: list[Problem], inputNode: Any) -> None:
        """Show these problems of a node in place of the earlier ones."""
        self.inputNode = inputNode
        table = self._table
        self._answers = []
        table.visible = bool(problems)
        table.setRowCount(len(problems))
        for row, problem in enumerate(problems):
            item = qt.QTableWidgetItem(problem.text)
            item.setIcon(dot({"error": "#c62828", "warning": "#e69f00"}.get(problem.severity, "#5c6bc0")))
            item.setToolTip(problem.text)
            table.setItem(row, 0, item)
            widget = self._answer(problem)
            if widget is None:
                table.removeCellWidget(row, 1)
            else:
                table.setCellWidget(row, 1, widget)
                self._answers.append((widget, widget.toolTip))
        self.allow(self._reason)
        table.resizeRowsToContents()
        shown = min(len(problems), _ROWS_SHOWN)
        table.setFixedHeight(sum(table.rowHeight(row) for row in range(shown)) + 4)

    def allow(self, reason: str) -> None:
        """Let problems be solved where the reason against it is empty; also for those that are shown later."""
        self._reason = reason
        for widget, toolTip in self._answers:
            setEnabled(widget, reason, toolTip)

    def _answer(self, problem: Problem) -> Any:
        if problem.fix is None:
            return None
        if problem.fix == SET_LABEL and problem.choices:
            return self._choices(problem)
        button = qt.QPushButton(_fixText(problem.fix))
        button.toolTip = _fixTip(problem.fix)
        button.connect("clicked(bool)", lambda _checked: self._onFix(problem, None))
        return button

    def _choices(self, problem: Problem) -> Any:
        box = qt.QComboBox()
        box.toolTip = _("Say what this segment is.")
        box.addItem(_("It is…"), None)
        for labelId in problem.choices:
            box.addItem(labelName(labelId), labelId)
        box.connect("activated(int)", lambda index: index and self._onFix(problem, problem.choices[index - 1]))
        return box


def dot(color: str) -> Any:
    """A small filled circle as icon."""
    pixmap = qt.QPixmap(12, 12)
    pixmap.fill(qt.QColor(0, 0, 0, 0))
    painter = qt.QPainter(pixmap)
    painter.setRenderHint(qt.QPainter.Antialiasing)
    painter.setBrush(qt.QBrush(qt.QColor(color)))
    painter.setPen(qt.QPen(qt.QColor(color)))
    painter.drawEllipse(1, 1, 9, 9)
    painter.end()
    return qt.QIcon(pixmap)


def _fixText(fix: str) -> str:
    texts = {
        SET_LABEL: _("Use chosen"),
        RENAME: _("Rename"),
        DROP: _("Remove"),
        ADD_BODY: _("Add body"),
        RESAMPLE: _("Resample"),
    }
    return texts[fix]


def _fixTip(fix: str) -> str:
    tips = {
        SET_LABEL: _("Give it the structure that is chosen in the list under 'Add structures'."),
        RENAME: _("Give these segments SynthCT's names, colors and terminology."),
        DROP: _("Remove these segments from the segmentation."),
        ADD_BODY: _("Estimate the outline of the body and add it as a segment."),
        RESAMPLE: _("Make a new segmentation on the grid of the model."),
    }
    return tips[fix]
