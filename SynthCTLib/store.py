"""The folder of models: which are there, are they whole, and the way in and out.

``<root>/<card id>/`` holds its safetensors files, ``imported.json`` (hashes, where each file came from) and
``licence.json``. Nothing in it is an absolute path, so the folder can be moved, copied and emptied at will.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from SynthCTLib.cards import ModelCard
from SynthCTLib.errors import ModelError
from SynthCTLib.findings import Finding
from SynthCTLib.model_files import make_folder, read_json, sha256_of, write_json
from SynthCTLib.progress import Progress
from SynthCTLib.resources import resource_path

Status = Literal["ready", "missing", "incomplete", "damaged"]
RECORD = "imported.json"
LICENCE = "licence.json"
CARD = "card.json"
DOWNLOADS = "downloads"


def default_root() -> Path:
    """``SYNTHCT_MODELS`` where it is set, else ``SynthCT/models`` in the platform's folder for user data."""
    import platformdirs  # here, since 3D Slicer's own process does without it

    chosen = os.environ.get("SYNTHCT_MODELS")
    return Path(chosen).expanduser() if chosen else platformdirs.user_data_path("SynthCT", appauthor=False) / "models"


class ModelStore:
    """Models in one folder; those embedded in SynthCT are served from beside their cards and cannot be changed."""

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root) if root is not None else default_root()

    def folder(self, card: ModelCard) -> Path:
        """Where the files of this model are, or will be."""
        return card.path.parent if card.embedded else self.root / card.id

    def file(self, card: ModelCard, part: str) -> Path:
        """The file of one part, such as ``autoencoder``, whether or not it exists."""
        return self.folder(card) / card.files[part]["name"]

    def expected(self, card: ModelCard, part: str) -> dict[str, Any] | None:
        """``sha256`` and ``bytes`` that the stored file should have; None if it was never imported."""
        if card.embedded:
            return dict(card.files[part])
        return read_json(self.folder(card) / RECORD).get("files", {}).get(part)

    def hashes(self, card: ModelCard) -> dict[str, str | None]:
        """SHA-256 of each stored file as recorded, for provenance."""
        return {part: (self.expected(card, part) or {}).get("sha256") for part in card.parts}

    def status(self, card: ModelCard) -> Status:
        """A quick look at names and sizes; :meth:`verify` reads the files."""
        present = [part for part in card.parts if self.file(card, part).is_file()]
        if any(not self._size_fits(card, part) for part in present):
            return "damaged"
        if len(present) == len(card.parts):
            return "ready"
        return "incomplete" if present else "missing"

    def _size_fits(self, card: ModelCard, part: str) -> bool:
        expected = self.expected(card, part)
        if expected is None:
            return False
        return expected["bytes"] is None or self.file(card, part).stat().st_size == expected["bytes"]

    def missing_parts(self, card: ModelCard) -> list[str]:
        """The parts that are absent or of another size than recorded."""
        return [part for part in card.parts if not (self.file(card, part).is_file() and self._size_fits(card, part))]

    def import_files(
        self, card: ModelCard, files: Iterable[str | Path], half: bool = False, progress: Progress | None = None
    ) -> None:
        """Check checkpoint files as released (``.pt``, ``.safetensors``) and store them; see :mod:`model_import`.

        Raises:
            ModelError: a file is unreadable, unsafe, of another model, or not the one imported before.
            ResourceError: the disk is too full.
        """
        if card.embedded:
            raise ModelError(f"{card.id} is part of SynthCT and needs no import; choose another card.")
        from SynthCTLib.model_import import import_parts  # here, since it loads PyTorch

        path = self.folder(card) / RECORD
        recorded = read_json(path).get("files", {})
        for part, record in import_parts(card, self.folder(card), files, dict(recorded), half, progress):
            recorded[part] = record
            write_json(path, {"schema": 1, "card": card.id, "files": recorded, "card_copied": self._copy_card(card)})

    def _copy_card(self, card: ModelCard) -> bool:
        """Put a card from elsewhere beside its files, so that its id is enough from now on; True if it was done."""
        place = self.folder(card) / CARD
        if resource_path("models", card.id, CARD).is_file() or place.resolve() == card.path.resolve():
            return read_json(self.folder(card) / RECORD).get("card_copied", False)
        write_json(place, card.to_json())
        return True

    def verify(self, card: ModelCard, progress: Progress | None = None) -> list[Finding]:
        """Read every file and compare its SHA-256 with the recorded one; an empty list means all is well."""
        findings = []
        for part in card.parts:
            path = self.file(card, part)
            expected = self.expected(card, part)
            advice = "Install SynthCT again." if card.embedded else f"{how_to_get(card)}."
            if not path.is_file():
                findings.append(Finding("error", "model-file-missing", f"The {part} of {card.id} is missing.", advice))
            elif expected is None:
                message = f"{path.name} of {card.id} was put there by hand and never checked."
                findings.append(Finding("error", "model-file-unknown", message, advice))
            elif expected["sha256"] and sha256_of(path, progress) != expected["sha256"]:
                message = f"{path.name} of {card.id} is damaged (its SHA-256 has changed)."
                findings.append(Finding("error", "model-file-damaged", message, advice))
        return findings

    def remove(self, card: ModelCard) -> list[Path]:
        """Delete the files that import and download made for this model; whatever else lies in its folder stays.

        Returns the deleted files. Raises ModelError for an embedded model.
        """
        if card.embedded:
            raise ModelError(f"{card.id} is part of SynthCT and cannot be removed; only imported models can.")
        folder = self.folder(card)
        sources = [card.files[part]["source"]["name"] for part in card.parts if card.files[part]["source"]]
        candidates = [self.file(card, part) for part in card.parts] + [folder / RECORD, folder / LICENCE]
        candidates += [folder / CARD] if read_json(folder / RECORD).get("card_copied") else []
        candidates += [folder / DOWNLOADS / name for name in sources]
        candidates += [path.with_name(path.name + ".part") for path in candidates]
        candidates += [folder / DOWNLOADS / f"{name}.part.json" for name in sources]
        removed = [path for path in candidates if path.is_file()]
        for path in removed:
            path.unlink()
        for empty in (folder / DOWNLOADS, folder):
            if empty.is_dir() and not any(empty.iterdir()):
                empty.rmdir()
        return removed

    def licence_accepted(self, card: ModelCard) -> bool:
        """Whether the user has accepted this card's licence (by name) before."""
        return read_json(self.folder(card) / LICENCE).get("name") == card.licence["name"]

    def accept_licence(self, card: ModelCard) -> None:
        """Record that the user accepts the licence, so that the question is asked once."""
        make_folder(self.folder(card))
        accepted = datetime.now(timezone.utc).isoformat(timespec="seconds")
        write_json(self.folder(card) / LICENCE, {**card.licence, "accepted": accepted})


def how_to_get(card: ModelCard) -> str:
    """What the user can do to have this model's files, as the start of a sentence."""
    urls = [card.files[part]["source"] and card.files[part]["source"]["url"] for part in card.parts]
    download = f"Run 'synthct models download {card.id}', or " if all(urls) else "Run "
    return f"{download}'synthct models import --card {card.id} FILE …' with the published files"
