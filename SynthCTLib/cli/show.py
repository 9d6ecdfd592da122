"""Puts out what a command has found: lines for people, one event for machines."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

from SynthCTLib.events import Emit, event

WIDTH = 110  # of lines of numbers


def show(options: argparse.Namespace, emit: Emit, key: str, data: Any, lines: list[str]) -> None:
    """With ``--json`` a result event with ``data`` under ``key``, else ``lines`` on standard output."""
    if options.json:
        emit(event("result", **{key: data}))
    else:
        print(*lines, sep="\n")


def readable(name: str, value: Any, depth: int = 0) -> list[str]:
    """Nested dictionaries and lists of numbers or text as indented lines; what they mean is not known here.

    What holds only plain values is put together on a line, everything else is opened up.
    """
    indent = "  " * depth
    title = f"{indent}{name.replace('_', ' ')}: "
    items = _items(value)
    if items is None or not any(_items(entry) for _, entry in items if not _is_short(entry)):
        return textwrap.wrap(title + _inline(value), WIDTH, subsequent_indent=indent + "  ")
    return [title.rstrip(), *(line for key, entry in items for line in readable(key, entry, depth + 1))]


def _items(value: Any) -> list[tuple[str, Any]] | None:
    """Names and values of a dictionary or list, None for a plain value."""
    if isinstance(value, dict):
        return [(str(key), entry) for key, entry in value.items()]
    if isinstance(value, list):
        return [(str(number), entry) for number, entry in enumerate(value, 1)]
    return None


def _is_short(value: Any) -> bool:
    """A plain value or a few of them, such as a range or a pair of measurements."""
    if isinstance(value, list):
        return len(value) <= 3 and not any(isinstance(entry, list | dict) for entry in value)
    return not isinstance(value, dict)


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{str(key).replace('_', ' ')}: {_inline(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return "/".join(map(_inline, value)) if _is_short(value) else ", ".join(map(_inline, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    return "–" if value is None else str(value)
