"""Model: which one, its state, licence and size; download, import, remove, open the folder."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import qt
import slicer

from SynthCTModule.Models import ModelRow
from SynthCTModule.panels.Panel import Panel, choose, quiet, setEnabled
from SynthCTModule.Translation import _

_BUTTONS = ("downloadModelButton", "importModelButton", "removeModelButton", "openModelFolderButton")


class ModelPanel(Panel):
    """Section *Model*."""

    def setup(self) -> None:
        ui, models = self.ui, self.logic.models
        self._entered = self._looked = False
        self._known: set[str] = set()
        self._tips = {name: getattr(ui, name).toolTip for name in _BUTTONS}
        ui.modelComboBox.connect("currentIndexChanged(int)", self._onChosen)
        ui.downloadModelButton.connect("clicked(bool)", self._onDownload)
        ui.importModelButton.connect("clicked(bool)", self._onImport)
        ui.removeModelButton.connect("clicked(bool)", self._onRemove)
        ui.openModelFolderButton.connect("clicked(bool)", self._onOpenFolder)
        models.changed.connect(self._onChanged)
        models.progressChanged.connect(self._onProgress)
        models.finished.connect(self._onFinished)
        self.logic.readinessChanged.connect(self._look)
        self._fill()

    def enter(self) -> None:
        self._entered = True
        self._look()

    def _look(self) -> None:
        """Look at the store once, when the module is shown and what is needed for that has been installed."""
        models = self.logic.models
        if self._entered and not self._looked and not models.busy and self.logic.setup.ready()[0]:
            self._looked = True
            models.refresh()

    def update(self) -> None:
        choose(self.ui.modelComboBox, self.node.modelId)
        self._showRow(self.logic.models.row(self.node.modelId))

    def _fill(self) -> None:
        box = self.ui.modelComboBox
        with quiet(box):
            box.clear()
            for row in self.logic.models.rows():
                box.addItem(row.title, row.id)

    def _showRow(self, row: ModelRow | None) -> None:
        ui, busy = self.ui, self.logic.models.busy
        if row is None:
            ui.modelStatusLabel.text = _("This model is not known here; import its files with their card.json.")
            for name in _BUTTONS:
                reason = "" if name == "importModelButton" else _("This model is not known here.")
                setEnabled(getattr(ui, name), reason, self._tips[name])
            return
        size = f", {row.bytes / 1e6:.0f} MB" if row.bytes else ""
        ui.modelStatusLabel.text = _statusText(row) + size
        use = _("commercial use allowed") if row.commercial else _("no commercial use")
        ui.modelLicenceLabel.text = f'<a href="{escape(row.licenceUrl)}">{escape(row.licence)}</a>, {use}'
        ui.downloadModelButton.text = _("Cancel") if busy else _("Download")
        own = _("The embedded model comes with SynthCT and stays.") if row.embedded else ""
        waiting = _("Something is being done with the models; wait for it.") if busy else ""
        there = _("It is there already.") if row.status == "ready" else ""
        absent = "" if row.status in ("ready", "incomplete", "damaged") else _("There is nothing to remove.")
        source = "" if row.downloadable or row.status == "unknown" else _("It cannot be downloaded; import its files.")
        setEnabled(ui.downloadModelButton, "" if busy else own or there or source, self._tips["downloadModelButton"])
        setEnabled(ui.importModelButton, waiting, self._tips["importModelButton"])
        setEnabled(ui.removeModelButton, own or waiting or absent, self._tips["removeModelButton"])
        folder = self.logic.models.folderToOpen(row.id)
        setEnabled(
            ui.openModelFolderButton,
            "" if folder else _("The folder is not known yet."),
            self._tips["openModelFolderButton"],
        )

    def _onChosen(self, _index: int) -> None:
        modelId = self.ui.modelComboBox.currentData
        if self.node is not None and modelId is not None:
            self.node.modelId = modelId

    def _onDownload(self, _checked: bool = False) -> None:
        models, modelId = self.logic.models, self.node.modelId
        if models.busy:
            models.cancel()
            return
        row = models.row(modelId)
        accepted = row.licenceAccepted or slicer.util.confirmOkCancelDisplay(
            _("{licence}\n\nDo you accept this licence and want to download the model?").format(
                licence=models.licenceText(modelId)
            ),
            _("Licence of the model"),
        )
        if accepted:
            models.download(modelId, not row.licenceAccepted)
            self.update()

    def _onImport(self, _checked: bool = False) -> None:
        title = _("Files of the model's networks")
        files = qt.QFileDialog.getOpenFileNames(slicer.util.mainWindow(), title, "", "*.pt *.safetensors *.json")
        if files:
            self._known = {row.id for row in self.logic.models.rows()}
            self.logic.models.importFiles(self.node.modelId, [Path(file) for file in files])
            self.update()

    def _onRemove(self, _checked: bool = False) -> None:
        row = self.logic.models.row(self.node.modelId)
        question = _("Remove the weights of {title} from this computer?").format(title=row.title)
        if slicer.util.confirmOkCancelDisplay(question, _("Remove model")):
            self.logic.models.remove(row.id)

    def _onOpenFolder(self, _checked: bool = False) -> None:
        folder = self.logic.models.folderToOpen(self.node.modelId)
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(folder)))

    def _onChanged(self) -> None:
        self._fill()
        self.ui.modelProgressBar.visible = False
        self.ui.modelWarningLabel.text = "\n".join(self.logic.models.warnings)
        self.ui.modelWarningLabel.visible = bool(self.logic.models.warnings)
        if self.node is not None:
            self._chooseImported()
            self.update()

    def _chooseImported(self) -> None:
        """A model that an import has added is what the user wants to use."""
        added = [row.id for row in self.logic.models.rows() if self._known and row.id not in self._known]
        if added:
            self._known, self.node.modelId = set(), added[0]

    def _onProgress(self, fraction: float, text: str) -> None:
        self.ui.modelProgressBar.visible = True
        self.ui.modelProgressBar.value = round(100 * fraction)
        self.ui.modelStatusLabel.text = text

    def _onFinished(self, failure: Any) -> None:
        self.ui.modelProgressBar.visible = False
        if self.node is not None:
            self.update()
        if failure is not None:
            self.ui.modelStatusLabel.text = failure.text()


def _statusText(row: ModelRow) -> str:
    texts = {
        "ready": _("Ready"),
        "missing": _("Not on this computer"),
        "incomplete": _("Incomplete; download or import it again"),
        "damaged": _("Damaged; remove it and get it again"),
        "unknown": _("Not looked at yet"),
    }
    return texts[row.status] if not row.embedded else _("Ready, comes with SynthCT")
