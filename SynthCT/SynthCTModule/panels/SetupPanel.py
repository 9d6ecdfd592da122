"""Setup: what SynthCT needs on this computer, each with its state and one button."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import qt
import slicer

from SynthCTModule.panels.Panel import Panel, setEnabled
from SynthCTModule.panels.ProblemTable import dot
from SynthCTModule.Setup import CHECK_AGAIN, INSTALL_PACKAGES, INSTALL_PYTORCH, MISSING, OK, PROBLEM, SetupRow
from SynthCTModule.Translation import _

_COLORS = {OK: "#2e7d32", MISSING: "#c62828", PROBLEM: "#e69f00"}
_UNKNOWN = "#9e9e9e"


class SetupPanel(Panel):
    """Section *Setup*; it opens by itself while something is missing."""

    def setup(self) -> None:
        ui, setup = self.ui, self.logic.setup
        self._opened = False
        self._rows: list[SetupRow] = []
        self._widgets: list[Any] = []
        self._folderTip = ui.installFromFolderButton.toolTip
        ui.refreshSetupButton.connect("clicked(bool)", lambda _checked: setup.refresh())
        ui.installFromFolderButton.connect("clicked(bool)", self._onInstallFromFolder)
        setup.changed.connect(self._show)
        setup.logChanged.connect(lambda line: slicer.util.showStatusMessage(line, 3000))
        setup.finished.connect(self._onFinished)
        self._show()

    def enter(self) -> None:
        """Look at the computer when the module is opened the first time; it takes seconds in another process."""
        if not self._opened:
            self._opened = True
            self.logic.setup.refresh()

    def _show(self) -> None:
        setup = self.logic.setup
        rows = setup.rows()
        ready, _reasons = setup.ready()
        there = _("Everything is installed already.") if ready else ""
        waiting = _("Something is being installed; wait for it.") if setup.installing else ""
        setEnabled(self.ui.installFromFolderButton, waiting or there, self._folderTip)
        if rows == self._rows:
            return
        self._rows = rows
        self.ui.setupCollapsibleButton.collapsed = ready
        self.ui.setupCollapsibleButton.text = _("Setup: ready") if ready else _("Setup: something is missing")
        self._clear()
        for number, row in enumerate(rows):
            self._addRow(number, row)

    def _clear(self) -> None:
        for widget in self._widgets:
            self.ui.setupRowsWidget.layout().removeWidget(widget)
            widget.hide()
            widget.deleteLater()
        self._widgets = []

    def _addRow(self, number: int, row: SetupRow) -> None:
        layout = self.ui.setupRowsWidget.layout()
        light = qt.QLabel()
        light.setPixmap(dot(_COLORS.get(row.state, _UNKNOWN)).pixmap(12, 12))
        text = qt.QLabel(f"<b>{escape(row.title)}</b> {escape(row.text)}")  # "monai<2" is no tag
        text.wordWrap = True
        layout.addWidget(light, number, 0)
        layout.addWidget(text, number, 1)
        layout.setColumnStretch(1, 1)
        self._widgets += [light, text]
        if row.action is not None:
            button = qt.QPushButton(_actionText(row.action))
            button.connect("clicked(bool)", lambda _checked, action=row.action: self.logic.setup.act(action))
            layout.addWidget(button, number, 2)
            self._widgets.append(button)

    def _onInstallFromFolder(self, _checked: bool = False) -> None:
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder with .whl files"))
        if folder:
            self.logic.setup.installFromFolder(Path(folder))

    def _onFinished(self, problem: str) -> None:
        if problem:
            slicer.util.errorDisplay(problem)


def _actionText(action: str) -> str:
    texts = {INSTALL_PYTORCH: _("Install"), INSTALL_PACKAGES: _("Install"), CHECK_AGAIN: _("Check")}
    return texts[action]
