"""The models: which there are, their licence, and getting, checking and removing them in a process of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SynthCTModule.Cards import findCard, shippedCards
from SynthCTModule.EngineCommand import EngineCommand
from SynthCTModule.EngineText import findingText
from SynthCTModule.Signal import Signal
from SynthCTModule.Translation import _
from SynthCTModule.WorkerEvents import Event, Failure

CARD_ENDING = ".json"


@dataclass(frozen=True)
class ModelRow:
    """``status``: ready, missing, incomplete, damaged, or unknown before the store was looked at; ``bytes`` on disk."""

    id: str
    title: str
    status: str
    embedded: bool
    licence: str
    licenceUrl: str
    commercial: bool
    licenceAccepted: bool = False
    downloadable: bool = False
    folder: Path | None = None
    bytes: int = 0


class Models:
    """One action at a time. Signals: changed(), progressChanged(fraction, text), finished(Failure | None).

    After a cancel ``finished`` comes with None, too; ``rows`` tell what is there, ``warnings`` what could not be read.
    """

    def __init__(self, command: EngineCommand) -> None:
        self.changed, self.progressChanged, self.finished = Signal(), Signal(), Signal()
        self._command = command
        self._findings: list[Event] = []
        self.warnings: list[str] = []
        command.progressChanged.connect(self.progressChanged.emit)
        command.findingCame.connect(self._findings.append)
        self._rows = [_rowOfCard(card) for card in shippedCards()]

    @property
    def busy(self) -> bool:
        """Whether an action is going on."""
        return self._command.busy

    def rows(self) -> list[ModelRow]:
        """All models, embedded first, as far as they are known now."""
        return list(self._rows)

    def row(self, modelId: str) -> ModelRow | None:
        """The row of a model."""
        return next((row for row in self._rows if row.id == modelId), None)

    def folderToOpen(self, modelId: str) -> Path | None:
        """The folder of a model, or the nearest one above it that exists; None while unknown."""
        row = self.row(modelId)
        folder = row.folder if row is not None else None
        while folder is not None and not folder.is_dir():
            folder = folder.parent if folder.parent != folder else None
        return folder

    def modelsFolder(self) -> Path | None:
        """Where imported models are; None while unknown."""
        return next((row.folder.parent for row in self._rows if row.folder is not None and not row.embedded), None)

    def licenceText(self, modelId: str) -> str:
        """What the user has to agree to before a download or import."""
        row = self.row(modelId)
        if row is None:
            return ""
        use = _("Commercial use is allowed.") if row.commercial else _("Commercial use is not allowed.")
        text = _("{title} is published under: {licence}\n{url}\n{use}")
        lines = [text.format(title=row.title, licence=row.licence, url=row.licenceUrl, use=use)]
        card = findCard(modelId, self.modelsFolder())
        if card is not None:
            lines += [_("Not for: {use}").format(use=excluded) for excluded in card.excluded_use]
        return "\n".join(lines)

    def refresh(self) -> None:
        """Look at the store."""
        self._start(["models", "list"])

    def download(self, modelId: str, licenceAccepted: bool) -> None:
        """Fetch a model; needs the user's agreement to its licence, given by a click on the shown text."""
        row = self.row(modelId)
        if not licenceAccepted and not (row is not None and row.licenceAccepted):
            message = _("The licence of {id} has not been accepted.").format(id=modelId)
            self.finished.emit(Failure("model", message, _("Read it and agree to it, then download again.")))
            return
        accept = ["--accept-licence"] if licenceAccepted else []
        self._start(["models", "download", modelId, *accept])

    def importFiles(self, modelId: str, files: Sequence[Path]) -> None:
        """Take in checkpoint files that the user has got; with the card.json of a model of their own that model."""
        cards = [file for file in files if file.name.lower().endswith(CARD_ENDING)]
        weights = [str(file) for file in files if file not in cards]
        if len(cards) > 1 or not weights:
            message = _("Choose the files of one model's networks, and its card.json where it is a model of your own.")
            self.finished.emit(Failure("model", message))
            return
        self._start(["models", "import", "--card", str(cards[0]) if cards else modelId, *weights])

    def verify(self, modelId: str) -> None:
        """Compare the files with their hashes."""
        self._start(["models", "verify", modelId])

    def remove(self, modelId: str) -> None:
        """Delete the files of an imported model."""
        self._start(["models", "remove", modelId])

    def cancel(self) -> None:
        """Stop the action; a download goes on later from where it is."""
        if self.busy:
            self._command.cancel()

    def _start(self, arguments: list[str]) -> None:
        self._findings.clear()
        listing = arguments[1] == "list"
        try:
            self._command.start(arguments, self._onListed if listing else self._onDone)
        except (RuntimeError, OSError) as error:
            self.finished.emit(Failure("crash", str(error)))

    def _onDone(self, result: Event | None, failure: Failure | None) -> None:
        if failure is not None and self._findings:
            told = " ".join(map(findingText, self._findings))
            failure = Failure(failure.kind, told)
        self.finished.emit(failure)
        self.refresh()

    def _onListed(self, result: Event | None, failure: Failure | None) -> None:
        if failure is not None:
            self.finished.emit(failure)
        elif result is not None:
            self.warnings = list(map(findingText, self._findings))
            self._rows = [_rowOfJson(values) for values in result["models"]]
        self.changed.emit()


def _rowOfCard(card: Any) -> ModelRow:
    """What can be said without looking at the store, which needs packages."""
    from SynthCTLib.store import ModelStore

    status = ModelStore(card.path.parent).status(card) if card.embedded else "unknown"
    folder = card.path.parent if card.embedded else None
    licence = card.licence
    return ModelRow(
        id=card.id,
        title=card.title,
        status=status,
        embedded=card.embedded,
        licence=licence["name"],
        licenceUrl=licence["url"],
        commercial=licence["commercial"],
        folder=folder,
    )


def _rowOfJson(values: dict[str, Any]) -> ModelRow:
    licence = values["licence"]
    return ModelRow(
        id=values["id"],
        title=values["title"],
        status=values["status"],
        embedded=values["embedded"],
        licence=licence["name"],
        licenceUrl=licence["url"],
        commercial=licence["commercial"],
        licenceAccepted=values["licence_accepted"],
        downloadable=values["downloadable"],
        folder=Path(values["folder"]),
        bytes=values["bytes"],
    )
