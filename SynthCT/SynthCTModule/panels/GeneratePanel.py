"""Generate: seed and settings, the button that becomes Cancel, progress, outcome and log."""

from __future__ import annotations

import secrets
from typing import Any

import slicer

from SynthCTModule.panels.Panel import Panel, setEnabled, shownErrors
from SynthCTModule.PanelSettings import anatomyFor, readParameters
from SynthCTModule.RunProgress import Progress, secondsText
from SynthCTModule.RunState import BUSY, RunState
from SynthCTModule.Translation import _

_STEPS_OF_BAR = 1000
_LARGEST_SEED = 2**31 - 1
_OF_A_MASK = ("guidanceSpinBox", "retriesSpinBox", "inputGridCheckBox")
"""What only means something where a segmentation is painted."""


class GeneratePanel(Panel):
    """Section *Generate*."""

    def setup(self) -> None:
        ui, logic = self.ui, self.logic
        self._tips = {name: getattr(ui, name).toolTip for name in _OF_A_MASK}
        ui.generateButton.connect("clicked(bool)", self._onGenerate)
        ui.diceButton.connect("clicked(bool)", self._onDice)
        ui.copyLogButton.connect("clicked(bool)", self._onCopyLog)
        logic.runStateChanged.connect(self._onState)
        logic.runProgressChanged.connect(self._onProgress)
        logic.runLogChanged.connect(ui.logTextEdit.appendPlainText)
        logic.runFinished.connect(self._onFinished)
        logic.readinessChanged.connect(self._onReadiness)

    def update(self) -> None:
        card = self.card()
        reason = "" if card is None or card.takes_mask else _("The chosen model takes no segmentation.")
        for name in _OF_A_MASK:
            setEnabled(getattr(self.ui, name), reason, self._tips[name])
        self._showSampling(card)
        self._showButton()

    def missing(self) -> list[str]:
        """Everything that keeps a run from starting, as sentences."""
        parameters = readParameters(self.node, self.logic.modelsFolder())
        reasons = list(self.logic.missing(self.node.modelId))
        if self.node.inputNode is None and parameters.takesMask():
            reasons.insert(0, _("Choose an anatomy: load a case or a file, or select a segmentation."))
        return [*reasons, *parameters.isValid()[1]]

    def _showSampling(self, card: Any) -> None:
        """What the model does where the user has left it the choice."""
        if card is None:
            self.ui.samplingLabel.text = ""
            return
        values = readParameters(self.node, self.logic.modelsFolder()).sampling(card)
        text = _("{steps} steps ({solver}), temperature {temperature:g}, guidance {guidance}")
        guidance = f"{values['guidance']:g}" if values["guidance"] else _("off")
        self.ui.samplingLabel.text = text.format(**{**values, "guidance": guidance})

    def _showButton(self) -> None:
        button = self.ui.generateButton
        if self.logic.run.busy:
            button.text = _("Cancel")
            button.enabled = True
            button.toolTip = _("Stop the run; nothing is changed.")
            self.ui.missingLabel.visible = False
            return
        reasons = self.missing()
        button.text = _("Generate CT")
        button.enabled = not reasons
        button.toolTip = "\n".join(f"• {reason}" for reason in reasons) if reasons else _("Make the CT.")
        self.ui.missingLabel.visible = bool(reasons)
        self.ui.missingLabel.text = reasons[0] if reasons else ""

    def _onGenerate(self, _checked: bool = False) -> None:
        if self.logic.run.busy:
            self.logic.run.cancel()
            self.ui.stageLabel.text = _("Cancelling…")
            return
        self.ui.logTextEdit.clear()
        self._say("")
        with shownErrors():
            parameters = readParameters(self.node, self.logic.modelsFolder())
            self.logic.generate(anatomyFor(self.node, parameters), parameters, self.node.labelScheme.value)

    def _onDice(self, _checked: bool = False) -> None:
        self.node.seed = secrets.randbelow(_LARGEST_SEED)

    def _onCopyLog(self, _checked: bool = False) -> None:
        slicer.app.clipboard().setText(self.logic.run.logText())

    def _onState(self, state: RunState) -> None:
        busy = state in BUSY
        self.ui.progressBar.visible = busy
        self.ui.stageLabel.visible = busy
        texts = {RunState.CHECKING: _("Checking the anatomy"), RunState.IMPORTING: _("Loading the CT into the scene")}
        if state in texts:
            self.ui.stageLabel.text = texts[state]
        if state is RunState.CHECKING:
            self.ui.progressBar.value = 0
        if self.node is not None:
            self._showButton()

    def _onProgress(self, progress: Progress) -> None:
        self.ui.progressBar.value = round(progress.fraction * _STEPS_OF_BAR)
        left = progress.secondsLeft
        text = _("{stage} · about {left} left")
        self.ui.stageLabel.text = (
            progress.text if left is None else text.format(stage=progress.text, left=secondsText(left))
        )

    def _onFinished(self, outcome: Any) -> None:
        failed = outcome.state is RunState.FAILED
        self._say(outcome.text(), "#b00020" if failed else "")
        if failed:
            self.ui.logGroupBox.collapsed = False

    def _say(self, text: str, color: str = "") -> None:
        label = self.ui.messageLabel
        label.visible = bool(text)
        label.text = text
        label.styleSheet = f"QLabel {{ color: {color}; }}" if color else ""

    def _onReadiness(self) -> None:
        if self.node is not None:
            self._showButton()
