"""Teaching: student mode, pairs with and without a lesion, case files, and what synthetic images cannot teach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer

from SynthCTModule.Cases import saveCaseFile
from SynthCTModule.Pairs import withoutLesions
from SynthCTModule.panels.Panel import Panel, setEnabled, shownErrors
from SynthCTModule.PanelSettings import caseSettings, readParameters
from SynthCTModule.ResultNodes import ResultNodes
from SynthCTModule.StudentMode import setStudentMode
from SynthCTModule.Translation import _
from SynthCTModule.Views import showSideBySide


class TeachingPanel(Panel):
    """Section *Teaching*, without the quiz."""

    def setup(self) -> None:
        ui = self.ui
        self._studentMode = False
        self._pairTip, self._saveTip = ui.pairButton.toolTip, ui.saveCaseButton.toolTip
        self._pair: list[Any] = []
        ui.pairButton.connect("clicked(bool)", self._onPair)
        ui.saveCaseButton.connect("clicked(bool)", self._onSaveCase)
        self.logic.resultsImported.connect(self._onImported)
        self.logic.runFinished.connect(self._onFinished)
        from SynthCTLib.cases import teaching_limits

        title, sentences = teaching_limits()
        ui.limitsGroupBox.title = title
        ui.limitsLabel.text = "<ul>" + "".join(f"<li>{sentence}</li>" for sentence in sentences) + "</ul>"

    def update(self) -> None:
        node = self.node.inputNode
        editable = node is not None and node.IsA("vtkMRMLSegmentationNode")
        reason = "" if editable else _("Choose a segmentation first.")
        setEnabled(self.ui.saveCaseButton, reason, self._saveTip)
        busy = _("A run is going on.") if self.logic.run.busy else ""
        missing = " ".join(self.logic.missing(self.node.modelId))
        setEnabled(self.ui.pairButton, reason or busy or missing, self._pairTip)
        if self.node.studentMode != self._studentMode:
            self._studentMode = self.node.studentMode
            setStudentMode(self._studentMode)

    def exit(self) -> None:
        if self.node is None:
            self._pair, self._studentMode = [], False

    def _onPair(self, _checked: bool = False) -> None:
        """Make the CT with the lesions first, then, with the same seed, the one without."""
        with shownErrors():
            healthy = withoutLesions(self.node.inputNode)
            self._pair = [healthy]
            parameters = readParameters(self.node, self.logic.modelsFolder())
            self.logic.generate(self.node.inputNode, parameters, self.node.labelScheme.value)

    def _onImported(self, results: list[ResultNodes]) -> None:
        if self._pair:
            self._pair.append(results[-1].ct)
        if self._studentMode:
            setStudentMode(True)

    def _onFinished(self, outcome: Any) -> None:
        if not self._pair or self.node is None:
            return
        if outcome.results == () or len(self._pair) == 3:
            pair, self._pair = self._pair, []
            if len(pair) == 3:
                showSideBySide(pair[1], pair[2])
            return
        # The run tells that it has ended before it can start again.
        qt.QTimer.singleShot(0, self._continuePair)

    def _continuePair(self) -> None:
        if not self._pair or self.node is None:
            return
        with shownErrors():
            parameters = readParameters(self.node, self.logic.modelsFolder())
            self.logic.generate(self._pair[0], parameters, self.node.labelScheme.value)

    def _onSaveCase(self, _checked: bool = False) -> None:
        name = f"{self.node.inputNode.GetName()}.synthct-case"
        path = qt.QFileDialog.getSaveFileName(
            slicer.util.mainWindow(), _("Save as case"), name, f"{_('SynthCT cases')} (*.synthct-case)"
        )
        if path:
            with shownErrors():
                saveCaseFile(self.node.inputNode, Path(path), caseSettings(self.node))
