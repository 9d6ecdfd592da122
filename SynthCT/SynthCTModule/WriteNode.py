"""Writes a node to a file that appears complete or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from SynthCTModule.Translation import _


def writeNode(node: Any, storage: Any, path: Path, finish: Callable[[Path], None] | None = None) -> None:
    """Write a node with its storage node beside ``path``, and rename the file when it is complete.

    finish: what is still to be done with the file before it gets its name. Raises RuntimeError when it cannot be
    written.
    """
    part = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    storage.SetFileName(str(part))
    try:
        if not storage.WriteData(node):
            raise RuntimeError(_("{path} cannot be written; check the folder and the free space.").format(path=path))
        if finish is not None:
            finish(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
