"""Model cards as the GUI process reads them: those that come with SynthCT, and a user's own from the models' folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from SynthCTModule.EnginePath import ensureEngineOnPath

if TYPE_CHECKING:
    from SynthCTLib.cards import ModelCard


def modelsRoot() -> Path | None:
    """Where the engine keeps a user's own models; None while the package that it asks for the place is missing."""
    ensureEngineOnPath()
    from SynthCTLib.store import default_root

    try:
        return default_root()
    except ImportError:
        return None


def shippedCards() -> list[ModelCard]:
    """The cards that come with SynthCT, embedded first."""
    ensureEngineOnPath()
    from SynthCTLib.cards import shipped_cards

    return shipped_cards()


def findCard(modelId: str, modelsFolder: Path | None = None) -> ModelCard | None:
    """The card with this id; None if there is none. The worker checks a user's own card, here it is only read."""
    for card in shippedCards():
        if card.id == modelId:
            return card
    if modelsFolder is None or not modelId or Path(modelId).name != modelId:
        return None
    from SynthCTLib.cards import ModelCard

    path = modelsFolder / modelId / "card.json"
    try:
        return ModelCard(**json.loads(path.read_text(encoding="utf-8")), path=path)
    except (OSError, ValueError, TypeError):
        return None
