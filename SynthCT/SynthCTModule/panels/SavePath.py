"""Asks where to save a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import qt
import slicer

from SynthCTModule.Translation import _


def savePath(title: str, name: str, endings: Sequence[str]) -> Path | None:
    """The file that the user has chosen, or None; a name without one of the endings gets the first.

    The dialog has asked about replacing only the name as it was typed, so that this asks about the longer one.
    """
    pattern = " ".join(f"*{ending}" for ending in endings)
    chosen = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, name + endings[0], pattern)
    if not chosen or chosen.lower().endswith(tuple(endings)):
        return Path(chosen) if chosen else None
    path = Path(chosen + endings[0])
    question = _("'{name}' is there already. Replace it?").format(name=path.name)
    return path if not path.exists() or slicer.util.confirmOkCancelDisplay(question, title) else None
