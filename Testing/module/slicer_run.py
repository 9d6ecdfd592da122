"""A run with Slicer's own ``launchConsoleProcess`` (package slicer-core) and a timer in the place of Qt's event loop.

    python slicer_run.py ACTION MODELS MASK TEMPORARY     ACTION: finish, cancel, close, kill

Prints one line of JSON: how the run has ended, how long that took after ACTION, and which processes are left.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
import types
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0
LONG = 1000


class Timers:
    """Qt's single shots, called by ``processEvents`` when they are due."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, Callable[[], Any]]] = []

    def singleShot(self, milliseconds: int, function: Callable[[], Any]) -> None:
        self._waiting.append((time.monotonic() + milliseconds / 1000, function))

    def processEvents(self) -> None:
        now = time.monotonic()
        due = [function for when, function in self._waiting if when <= now]
        self._waiting = [(when, function) for when, function in self._waiting if when > now]
        for function in due:
            function()


def found(results: list[dict[str, Any]]) -> Generator[None, None, list[bool]]:
    """In place of an import: whether the CTs are there."""
    yield
    return [Path(one["ct"]).is_file() for one in results]


def main(action: str, models: str, mask: str, temporary: str) -> None:
    """Run and print."""
    timers = Timers()
    qt = types.ModuleType("qt")
    qt.QTimer = timers  # type: ignore[attr-defined]
    sys.modules["qt"] = qt
    import slicer

    slicer.app = timers
    sys.path.insert(0, str(ROOT / "SynthCT"))
    from SynthCTModule.Parameters import RunParameters
    from SynthCTModule.Run import Run
    from SynthCTModule.WorkerProcess import SlicerWorkerProcess

    run = Run(SlicerWorkerProcess(), found, Path(temporary))
    steps = 2 if action == "finish" else LONG
    parameters = RunParameters("tiny", steps=steps, device="cpu", modelsFolder=Path(models))

    def writeMask(path: Path) -> str:
        shutil.copy(mask, path)
        return "maisi"

    assert run.start(parameters, writeMask), run.logText()
    family: list[psutil.Process] = []
    if action != "finish":
        while "Sampling" not in run.logText():
            assert run.busy, run.logText()
            timers.processEvents()
            time.sleep(0.01)
        family = psutil.Process().children(recursive=True)
    began = time.monotonic()
    if action == "kill":
        family[-1].kill()
    elif action != "finish":
        getattr(run, action)()
    run.wait(PATIENCE)
    while left := [one.name() for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]:
        if time.monotonic() - began > 10:
            break
        timers.processEvents()
    told = {"state": run.state.value, "seconds": time.monotonic() - began, "processes": len(family), "left": left}
    outcome = run.outcome
    told |= {"text": outcome.text(), "imported": outcome.imported} if outcome is not None else {}
    print(json.dumps(told | {"log": run.logText()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
