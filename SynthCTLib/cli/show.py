"""Puts out what a command has found: lines for people, one event for machines."""

from __future__ import annotations

import argparse
from typing import Any

from SynthCTLib.events import Emit, event


def show(options: argparse.Namespace, emit: Emit, key: str, data: Any, lines: list[str]) -> None:
    """With ``--json`` a result event with ``data`` under ``key``, else ``lines`` on standard output."""
    if options.json:
        emit(event("result", **{key: data}))
    else:
        print(*lines, sep="\n")
