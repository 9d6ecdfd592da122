"""Teaching: student mode, pairs with and without a lesion, case files, and what synthetic images cannot teach."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import qt
import slicer

from SynthCTModule.Cases import saveCaseFile
from SynthCTModule.Pairs import withoutLesions
from SynthCTModule.panels.Panel import Panel, setEnabled, shownErrors
from SynthCTModule.PanelSettings import caseSettings, readParameters
from SynthCTModule.Parameters import RunParameters
from SynthCTModule.ResultNodes import ResultNodes, storedSeed
from SynthCTModule.StudentMode import StudentMode
from SynthCTModule.Translation import _
from SynthCTModule.Views import showSideBySide


@dataclass
class Pair:
    """A pair that is being made: ``healthy`` anatomy, ``parameters`` of both runs, ``volumes`` so far."""

    healthy: Any
    parameters: RunParameters
    volumes: list[Any] = field(default_factory=list)


class TeachingPanel(Panel):
    """Section *Teaching*, without the quiz."""

    def setup(self) -> None:
        ui = self.ui
        self._studentMode = StudentMode(ui)
        self._pairTip, self._saveTip = ui.pairButton.toolTip, ui.saveCaseButton.toolTip
        self._pair: Pair | None = None
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
        takesMask = readParameters(self.node, self.logic.modelsFolder()).takesMask()
        maskless = "" if takesMask else _("The chosen model takes no segmentation; choose another one.")
        setEnabled(self.ui.pairButton, reason or maskless or busy or missing, self._pairTip)
        if self.node.studentMode != self._studentMode.isOn:
            self._studentMode.switch(self.node.studentMode)

    def exit(self) -> None:
        """Nothing stays hidden for students when their scene is gone."""
        if self.node is None:
            self._pair = None
            self.logic.readinessChanged.disconnect(self._continuePair)
            self._studentMode.switch(False)

    def _onPair(self, _checked: bool = False) -> None:
        """Make the CT with the lesions first, then, with the same seed, the one without."""
        with shownErrors():
            parameters = readParameters(self.node, self.logic.modelsFolder())
            # Retries would give the two CTs seeds of their own.
            parameters = replace(parameters, count=1, retries=0)
            self._pair = Pair(withoutLesions(self.node.inputNode), parameters)
            self._generate(self.node.inputNode)

    def _generate(self, node: Any) -> None:
        assert self._pair is not None
        try:
            self.logic.generate(node, self._pair.parameters, self.node.labelScheme.value)
        except RuntimeError:
            self._dropPair()
            raise

    def _onImported(self, results: list[ResultNodes]) -> None:
        if self._studentMode.isOn:
            for result in results:
                _nameNeutrally(result)
            self._studentMode.refresh()
        if self._pair is not None:
            ct = results[-1].ct
            self._pair.volumes.append(ct)
            self._pair.parameters = replace(self._pair.parameters, seed=storedSeed(ct))

    def _onFinished(self, outcome: Any) -> None:
        if self._pair is None or self.node is None:
            return
        if not outcome.imported:
            self._dropPair()
        elif len(self._pair.volumes) == 2:
            pair, self._pair = self._pair, None
            showSideBySide(*pair.volumes)
        else:
            # The run tells that it has ended before it can start again.
            qt.QTimer.singleShot(0, self._continuePair)

    def _continuePair(self) -> None:
        """Make the second CT; while an edit is going on, whose end is a change of readiness, that waits."""
        self.logic.readinessChanged.disconnect(self._continuePair)
        if self._pair is None or self.node is None:
            return
        if self.logic.edits.busy:
            self.logic.readinessChanged.connect(self._continuePair)
            return
        with shownErrors():
            self._generate(self._pair.healthy)

    def _dropPair(self) -> None:
        """The pair has failed or was cancelled: the anatomy that was made for it goes."""
        pair, self._pair = self._pair, None
        if pair is not None and pair.healthy.GetScene() is not None:
            slicer.mrmlScene.RemoveNode(pair.healthy)

    def _onSaveCase(self, _checked: bool = False) -> None:
        name = f"{self.node.inputNode.GetName()}.synthct-case"
        path = qt.QFileDialog.getSaveFileName(
            slicer.util.mainWindow(), _("Save as case"), name, f"{_('SynthCT cases')} (*.synthct-case)"
        )
        if path:
            with shownErrors():
                saveCaseFile(self.node.inputNode, Path(path), caseSettings(self.node))


def _nameNeutrally(result: ResultNodes) -> None:
    """A case's title may be the answer."""
    scene = slicer.mrmlScene
    result.ct.SetName(scene.GenerateUniqueName(_("CT")))
    if result.mask is not None:
        result.mask.SetName(scene.GenerateUniqueName(_("Mask")))
