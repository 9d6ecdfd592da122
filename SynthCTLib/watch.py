"""Stops a worker whose standard input its parent does not hold: when a file appears, or when the parent is gone."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from SynthCTLib.runner import CANCELLED

INTERVAL = 0.2
"""Seconds between two looks."""

LAST_SECONDS = 10.0
"""What a worker without a parent has left for its present step; nobody waits for it any more."""


def watch(stop: Callable[[], None], cancel_file: Path | None, parent_pid: int | None) -> None:
    """Call ``stop`` once ``cancel_file`` exists or the process ``parent_pid`` has ended; returns at once.

    A run that does not stop within LAST_SECONDS of the end of its parent is ended hard, which is safe at any moment.
    """
    if cancel_file is None and parent_pid is None:
        return
    parent = None if parent_pid is None else Parent(parent_pid)
    threading.Thread(target=_look, args=(stop, cancel_file, parent), daemon=True).start()


class Parent:
    """A process by its id and start, so that a later one with the same id is not taken for it."""

    def __init__(self, pid: int) -> None:
        try:
            self._process: psutil.Process | None = psutil.Process(pid)
        except psutil.NoSuchProcess:
            self._process = None

    def is_gone(self) -> bool:
        """Whether it has ended; one that only waits to be reaped counts as ended."""
        try:
            ended = self._process is None or not self._process.is_running()
            return ended or self._process.status() == psutil.STATUS_ZOMBIE  # type: ignore[union-attr]
        except psutil.NoSuchProcess:
            return True


def _look(stop: Callable[[], None], cancel_file: Path | None, parent: Parent | None) -> None:
    while True:
        if parent is not None and parent.is_gone():
            stop()
            time.sleep(LAST_SECONDS)
            os._exit(CANCELLED.exit_code)
        if cancel_file is not None and cancel_file.exists():
            stop()
            cancel_file = None
            if parent is None:
                return
        time.sleep(INTERVAL)
