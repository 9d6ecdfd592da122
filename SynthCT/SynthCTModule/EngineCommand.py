"""One command of the engine (``python -m SynthCTLib … --json``) in a process of its own: doctor, models, prepare."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from SynthCTModule.Signal import Signal
from SynthCTModule.WorkerEvents import Event, Failure, crashOf, failureOf, parseLine, stageText
from SynthCTModule.WorkerProcess import WorkerProcess

LOG_LINES = 200

OnDone = Callable[["Event | None", "Failure | None"], None]
CleanUp = Callable[[], None]


def _nothing() -> None:
    """Nothing is to be cleaned up."""


class EngineCommand:
    """Runs one command at a time; it stops by itself when Slicer has ended without saying so.

    progressChanged(fraction, text), findingCame(event).
    """

    def __init__(self, process: WorkerProcess) -> None:
        self.progressChanged, self.findingCame = Signal(), Signal()
        self._process = process
        self._run: object | None = None
        self._cleanUp: CleanUp = _nothing
        self._last: Event | None = None
        self._log: deque[str] = deque(maxlen=LOG_LINES)

    @property
    def busy(self) -> bool:
        """Whether a command is running."""
        return self._process.isRunning()

    def start(self, arguments: Sequence[str | Path], onDone: OnDone, cleanUp: CleanUp = _nothing) -> None:
        """Start ``synthct ARGUMENTS --json``; onDone gets the result event, or the failure (neither: cancelled).

        cleanUp: called after the end, also by :meth:`close`, of which onDone does not hear; a second call must do no
        harm. Raises RuntimeError while a command is running, and when Python cannot be started.
        """
        run = object()
        command = ["-m", "SynthCTLib", *map(str, arguments), "--json", "--parent-pid", str(os.getpid())]
        self._process.start(command, partial(self._onLine, run), partial(self._onEnd, run, onDone))
        self._run, self._last, self._cleanUp = run, None, cleanUp
        self._log.clear()

    def cancel(self) -> None:
        """End it at once: a download goes on from where it is, all other files appear complete or not at all."""
        self._last = {"event": "cancelled"}
        self._process.kill()

    def close(self) -> None:
        """End it without a word."""
        self._run = None
        self._process.kill()
        self._cleanUp()

    def logText(self) -> str:
        """What was printed beside events."""
        return "\n".join(self._log)

    def _onLine(self, run: object, line: str) -> None:
        if run is not self._run:
            return
        event = parseLine(line)
        if event is None:
            self._log.append(line)
        elif event["event"] == "progress":
            fraction = event["step"] / event["of"] if event["of"] else 0.0
            self.progressChanged.emit(min(1.0, fraction), stageText(event["stage"]))
        elif event["event"] == "finding":
            self.findingCame.emit(event)
        elif event["event"] in ("result", "error", "cancelled") and self._last is None:
            self._last = event

    def _onEnd(self, run: object, onDone: OnDone, exitCode: int) -> None:
        if run is not self._run:
            return
        cleanUp = self._cleanUp  # onDone may start the next command
        try:
            self._done(onDone, exitCode)
        finally:
            cleanUp()

    def _done(self, onDone: OnDone, exitCode: int) -> None:
        kind = self._last["event"] if self._last is not None else None
        if kind == "result":
            onDone(self._last, None)
        elif kind == "error":
            onDone(None, failureOf(self._last))
        elif kind == "cancelled":
            onDone(None, None)
        else:
            onDone(None, crashOf(exitCode, list(self._log)))
