"""Work that yields where it may pause, so that Slicer's window stays alive between its steps; no Qt in here.

Who runs it decides what the pauses are for: SynthCTModule.Steps gives them to the window, ``finished`` skips them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any, Protocol

SHARE = 0.02
"""Seconds of each step that belong to the thread: Python runs in one thread at a time, and Slicer's own may keep it
while it waits for events."""

OnDone = Callable[["Exception | None"], None]


class Runner(Protocol):
    """Runs one piece of work at a time."""

    def start(self, work: Generator[None, None, Any], onDone: OnDone) -> None:
        """Begin; ``onDone`` gets None in the end, or what the work has raised."""

    def step(self) -> None:
        """Take one step now, for those who wait without an event loop."""

    def stop(self) -> None:
        """Give up without a word; the generator tidies up."""


class AtOnce:
    """A Runner without pauses, for where there is no event loop."""

    def start(self, work: Generator[None, None, Any], onDone: OnDone) -> None:
        try:
            finished(work)
        except Exception as error:
            onDone(error)
        else:
            onDone(None)

    def step(self) -> None:
        """There is nothing left to do."""

    def stop(self) -> None:
        """There is nothing left to stop."""


def finished(work: Generator[None, None, Any]) -> Any:
    """What the work returns in the end, without pauses; raises what it raises."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def inBackground(function: Callable[[], Any]) -> Generator[None, None, Any]:
    """Call it in a thread and yield until it has ended; returns what it returns, raises what it raises.

    The function may compute with arrays of its own and read files: MRML, Qt, translated texts and what VTK shares with
    others belong to the main thread, nor may the function hold a node, which the thread could be the last to let go of.
    When the work is given up, the thread comes to its end unheard.
    """
    outcome: list[tuple[Any, BaseException | None]] = []

    def call() -> None:
        try:
            outcome.append((function(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    yield
    while thread.is_alive():
        thread.join(SHARE)
        yield
    value, error = outcome.pop()
    if error is None:
        return value
    try:
        raise error
    finally:
        del error  # else it holds this frame and this frame it, and the voxels in its traceback stay for long
