"""Starts the engine in a process of its own: in Slicer through PythonSlicer, elsewhere with a plain Python.

Facts of ``slicer.util.launchConsoleProcess(blocking=False)`` that decide how (Slicer's Base/Python/slicer/util.py):
standard input is inherited and no pipe, so a cancel goes through a file; standard error is mixed into the lines; lines
are decoded with the system's code page and what cannot be decoded is lost, so the process is told to write ASCII; a
callback that raises ends the delivery of lines, so none may.
"""

from __future__ import annotations

import logging
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from SynthCTModule.EnginePath import engineRoot
from SynthCTModule.ProcessTree import ProcessTree
from SynthCTModule.Translation import _

GRACE = 1.2
"""Seconds between the polite cancel and the kill; together with ProcessTree.WAIT less than 2."""

ENVIRONMENT = {"PYTHONIOENCODING": "ascii:backslashreplace"}

OnLine = Callable[[str], None]
OnEnd = Callable[[int], None]


class WorkerProcess(Protocol):
    """One process at a time; callbacks come on the main thread."""

    def start(self, arguments: Sequence[str], onLine: OnLine, onEnd: OnEnd, cancelFile: Path | None = None) -> None:
        """Start Python with these arguments, in the engine's folder.

        onLine: each line of output. onEnd: exit code, after the last line. cancelFile: its appearance means cancel.
        Raises RuntimeError or OSError when the process cannot be started.
        """

    def cancel(self) -> None:
        """Ask to stop and kill after GRACE seconds; without a cancel file kill at once."""

    def kill(self) -> None:
        """End launcher and children now; onEnd still comes."""

    def isRunning(self) -> bool:
        """Whether onEnd has not come yet."""

    def pump(self) -> None:
        """Let lines that wait be delivered, for those who wait for the end without an event loop."""


class _TreeProcess(ABC):
    """What both kinds share: cancel through a file, kill with descendants, no callback that raises."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._tree: ProcessTree | None = None
        self._childSeen = False
        self._cancelFile: Path | None = None
        self._onLine: OnLine = print
        self._onEnd: OnEnd = print

    def start(self, arguments: Sequence[str], onLine: OnLine, onEnd: OnEnd, cancelFile: Path | None = None) -> None:
        if self.isRunning():
            raise RuntimeError(_("A process is running already; wait for its end or cancel it."))
        self._onLine, self._onEnd, self._cancelFile = onLine, onEnd, cancelFile
        self._childSeen = False
        self._process = self._launch(arguments)
        self._tree = ProcessTree(self._process.pid)

    def cancel(self) -> None:
        if not self.isRunning():
            return
        if self._cancelFile is None:
            self.kill()
            return
        self._cancelFile.touch()
        self._killLater(self._process)

    def kill(self) -> None:
        if self._tree is not None and self.isRunning():
            self._tree.kill()

    def isRunning(self) -> bool:
        return self._process is not None

    @abstractmethod
    def _launch(self, arguments: Sequence[str]) -> subprocess.Popen[str]:
        """Start Python; its lines come to ``_lineCame``, its end to ``_ended``, both on the main thread."""

    @abstractmethod
    def _killLater(self, process: subprocess.Popen[str] | None) -> None:
        """Call ``_killIfStill`` after GRACE seconds."""

    @abstractmethod
    def pump(self) -> None:
        """As WorkerProcess.pump."""

    def _killIfStill(self, process: subprocess.Popen[str] | None) -> None:
        """Kill after a cancel, unless another process has been started meanwhile."""
        if process is not None and process is self._process:
            self.kill()

    def _lineCame(self, line: str) -> None:
        if self._tree is not None and not self._childSeen:
            self._tree.remember()  # the first line comes from the child of the launcher, so it is there now
            self._childSeen = True
        self._guarded(self._onLine, line)

    def _ended(self, code: int) -> None:
        self._process, self._tree = None, None
        self._guarded(self._onEnd, code)

    @staticmethod
    def _guarded(callback: Callable, value: object) -> None:
        try:
            callback(value)
        except Exception:
            logging.exception("A callback of a SynthCT process has failed")


class SlicerWorkerProcess(_TreeProcess):
    """In Slicer's own Python, through ``slicer.util.launchConsoleProcess``; Qt's event loop delivers the lines."""

    def _launch(self, arguments: Sequence[str]) -> subprocess.Popen[str]:
        import slicer

        python = shutil.which("PythonSlicer")
        if python is None:
            raise RuntimeError(_("PythonSlicer, which comes with Slicer, is not found; install Slicer again."))
        return slicer.util.launchConsoleProcess(
            [python, "-u", *arguments],
            useStartupEnvironment=False,  # PythonSlicer is in this environment's path, as for Slicer's own pip
            updateEnvironment=ENVIRONMENT,
            cwd=str(engineRoot()),
            blocking=False,
            logCallback=self._lineCame,
            completedCallback=self._ended,
        )

    def _killLater(self, process: subprocess.Popen[str] | None) -> None:
        import qt

        qt.QTimer.singleShot(int(GRACE * 1000), lambda: self._killIfStill(process))

    def pump(self) -> None:
        import slicer

        slicer.app.processEvents()
        time.sleep(0.02)


class PopenWorkerProcess(_TreeProcess):
    """Outside of Slicer: a thread reads, ``pump`` delivers on the thread that calls it.

    ``command``: how Python is started, for tests a launcher with its arguments.
    """

    def __init__(self, command: Sequence[str] = (sys.executable,)) -> None:
        super().__init__()
        self._command = list(command)
        self._messages: queue.SimpleQueue[tuple[str, str | int]] = queue.SimpleQueue()
        self._deadline: tuple[float, subprocess.Popen[str]] | None = None

    def _launch(self, arguments: Sequence[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*self._command, "-u", *arguments],
            env=os.environ | ENVIRONMENT,
            cwd=engineRoot(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, args=(process,), daemon=True).start()
        return process

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._messages.put(("line", line.rstrip()))
        self._messages.put(("end", process.wait()))

    def _killLater(self, process: subprocess.Popen[str] | None) -> None:
        if process is not None:
            self._deadline = (time.monotonic() + GRACE, process)

    def pump(self) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline[0]:
            process, self._deadline = self._deadline[1], None
            self._killIfStill(process)
        time.sleep(0.02)
        while not self._messages.empty():
            kind, value = self._messages.get()
            if kind == "line":
                self._lineCame(str(value))
            else:
                self._ended(int(value))
