"""A signal in plain Python.

Not Qt's: run, setup and models are tested without Qt, and Python classes cannot declare signals in PythonQt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Signal:
    """Calls every connected function with what is emitted, in the order of connecting."""

    def __init__(self) -> None:
        self._slots: list[Callable[..., Any]] = []

    def connect(self, slot: Callable[..., Any]) -> None:
        """Call ``slot`` from now on; a second connection of the same function changes nothing."""
        if slot not in self._slots:
            self._slots.append(slot)

    def disconnect(self, slot: Callable[..., Any]) -> None:
        """Do not call ``slot`` any more; unknown functions are ignored."""
        if slot in self._slots:
            self._slots.remove(slot)

    def emit(self, *values: Any) -> None:
        """Call all; a slot may connect and disconnect meanwhile, which counts from the next time."""
        for slot in list(self._slots):
            slot(*values)
