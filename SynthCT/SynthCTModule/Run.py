"""One run, from a written mask to an imported CT, with every way it can end; no Qt, MRML only in what is injected."""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from SynthCTModule.EngineText import engineText
from SynthCTModule.Parameters import RunParameters
from SynthCTModule.RunFolder import RunFolder
from SynthCTModule.RunProgress import RunProgress
from SynthCTModule.RunState import RunState, StateMachine
from SynthCTModule.Signal import Signal
from SynthCTModule.Translation import _
from SynthCTModule.Work import AtOnce, Runner
from SynthCTModule.WorkerEvents import Event, Failure, crashOf, failureOf, logText, parseLine
from SynthCTModule.WorkerProcess import WorkerProcess

LOG_LINES = 2000

WriteMask = Callable[[Path], "str | None"]
ImportResults = Callable[[list[dict[str, Any]]], Generator[None, None, Any]]


@dataclass(frozen=True)
class RunOutcome:
    """How a run has ended: ``state`` done, cancelled or failed.

    ``results``: per CT the entries of the result event (their files are gone, ``imported`` is what the importer has
    returned); ``job``: all settings with the seed, as the worker has used them; ``findings``: what checks have found.
    """

    state: RunState
    failure: Failure | None = None
    results: tuple[dict[str, Any], ...] = ()
    imported: Any = None
    job: dict[str, Any] = field(default_factory=dict)
    findings: tuple[Event, ...] = ()

    def text(self) -> str:
        """The outcome as a sentence."""
        if self.failure is not None:
            return self.failure.text()
        return _("Cancelled; nothing was changed.") if self.state is RunState.CANCELLED else _("Done.")


class Run:
    """Runs one job after the other; signals come on the main thread.

    stateChanged(RunState), progressChanged(Progress), logChanged(str: a new line), findingCame(event),
    finished(RunOutcome).
    """

    def __init__(
        self,
        process: WorkerProcess,
        importResults: ImportResults,
        temporaryFolder: Path | None = None,
        learn: Callable[[Mapping[str, Any]], None] | None = None,
        steps: Runner | None = None,
    ) -> None:
        """
        importResults: makes nodes of the result event's ``results`` in steps, while their files exist; what it returns
        is kept, and when it is closed before its end it takes its nodes back.
        temporaryFolder: where run folders are made (Slicer: ``slicer.app.temporaryPath``).
        learn: given each report of a finished run, for better estimates.
        steps: runs the import (Slicer: SynthCTModule.Steps); None: without pauses.
        """
        self.stateChanged, self.progressChanged, self.logChanged = Signal(), Signal(), Signal()
        self.findingCame, self.finished = Signal(), Signal()
        self.outcome: RunOutcome | None = None
        self._process, self._importResults, self._learn = process, importResults, learn
        self._temporaryFolder = temporaryFolder
        self._steps = steps or AtOnce()
        self._machine = self._idle()
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._reset()

    @property
    def state(self) -> RunState:
        """The present state."""
        return self._machine.state

    @property
    def busy(self) -> bool:
        """Whether a run is going on."""
        return self._machine.busy

    def logText(self) -> str:
        """All lines of the log of the last run, for copying."""
        return "\n".join(self._log)

    def start(
        self, parameters: RunParameters, writeMask: WriteMask | None, expectedSeconds: Mapping[str, float] | None = None
    ) -> bool:
        """Check, write the mask and start the worker; False when that has failed (``finished`` tells why).

        writeMask: writes the label map to the NRRD path it is given and returns what its numbers mean (the job's
        ``labels``: maisi, totalsegmentator; None: to be detected). What it raises ends the run with its sentence. None
        for a model that takes no segmentation.
        Raises RuntimeError while a run is going on.
        """
        self._machine.to(RunState.CHECKING)
        self._reset()
        self._progress = RunProgress(expectedSeconds, parameters.count, parameters.retries)
        valid, reasons = parameters.isValid()
        if not valid:
            self._end(RunState.FAILED, Failure("input", " ".join(reasons)))
            return False
        try:
            self._folder = RunFolder(self._temporaryFolder)
            labels = writeMask(self._folder.mask) if writeMask is not None else None
            job = parameters.toJob(self._folder.mask if writeMask is not None else None, self._folder.out, labels)
            job["cancel_file"] = str(self._folder.cancelFile)
            self._folder.job.write_text(json.dumps(job), encoding="utf-8")
            self._machine.to(RunState.RUNNING)
            arguments = ["-m", "SynthCTLib.worker", str(self._folder.job)]
            run = self._run
            self._process.start(
                arguments, partial(self._onLine, run), partial(self._onEnd, run), self._folder.cancelFile
            )
        except Exception as error:
            self._say(f"{type(error).__name__}: {error}")
            self._end(RunState.FAILED, Failure("input", engineText(str(error)) or type(error).__name__))
            return False
        self.progressChanged.emit(self._progress.now())
        return True

    def cancel(self) -> None:
        """Stop the run: launcher and worker are gone within 2 s, then ``finished`` comes. Does nothing when idle."""
        if self.state is RunState.IMPORTING:
            self._steps.stop()
            self._end(RunState.CANCELLED)
        elif self.state is RunState.RUNNING and not self._cancelling:
            self._cancelling = True
            self._say(_("Cancelling…"))
            self._process.cancel()

    def close(self) -> None:
        """End everything at once, as when the scene, the module or Slicer is closed: no process, no file, no signal."""
        self._run = None  # what the process still says is not for us any more
        self._process.kill()
        self._steps.stop()
        if self._folder is not None:
            self._folder.remove()
            self._folder = None
        self._machine = self._idle()

    def wait(self, seconds: float = 1e9) -> bool:
        """Wait for the end while signals keep coming, for scripts; False when the time is over before."""
        end = time.monotonic() + seconds
        while self.busy and time.monotonic() < end:
            self._process.pump()
            self._steps.step()
        return not self.busy

    def _idle(self) -> StateMachine:
        machine = StateMachine()
        machine.changed.connect(self.stateChanged.emit)
        return machine

    def _reset(self) -> None:
        self._run: object | None = object()
        self._log.clear()
        self._folder: RunFolder | None = None
        self._progress = RunProgress()
        self._last: Event | None = None
        self._job: dict[str, Any] = {}
        self._findings: list[Event] = []
        self._cancelling = False
        self.outcome = None

    def _onLine(self, run: object, line: str) -> None:
        if run is not self._run:
            return
        event = parseLine(line)
        if event is None:
            self._say(line)
            return
        kind = event["event"]
        if kind == "progress":
            self.progressChanged.emit(self._progress.step(event["stage"], event["step"], event["of"]))
        elif kind == "started":
            self._job = event.get("job", {})
        elif kind == "finding":
            self._findings.append(event)
            self.findingCame.emit(event)
        elif kind in ("result", "error", "cancelled"):
            self._last = event
        self._say(logText(event))

    def _onEnd(self, run: object, exitCode: int) -> None:
        if run is not self._run:
            return
        kind = self._last["event"] if self._last is not None else None
        if kind == "result":
            self._import(self._last["results"])
        elif kind == "error":
            self._end(RunState.FAILED, failureOf(self._last))
        elif kind == "cancelled" or self._cancelling:
            self._end(RunState.CANCELLED)
        else:
            self._end(RunState.FAILED, crashOf(exitCode, list(self._log)[-20:]))

    def _import(self, results: list[dict[str, Any]]) -> None:
        self._machine.to(RunState.IMPORTING)
        if self.state is not RunState.IMPORTING:  # somebody who heard of it has cancelled
            return
        imported: list[Any] = []
        self._steps.start(self._importing(results, imported), partial(self._imported, results, imported))

    def _importing(self, results: list[dict[str, Any]], imported: list[Any]) -> Generator[None, None, None]:
        imported.append((yield from self._importResults(results)))
        self._learnFrom(results)

    def _imported(self, results: list[dict[str, Any]], imported: list[Any], error: Exception | None) -> None:
        if error is not None:
            logging.error("The SynthCT result could not be imported", exc_info=error)
            self._say(f"{type(error).__name__}: {error}")
            message = _("The CT was made but could not be loaded into the scene ({error}).").format(error=error)
            self._end(RunState.FAILED, Failure("internal", message, _("The log shows details.")))
            return
        self._end(RunState.DONE, results=tuple(results), imported=imported[0])

    def _learnFrom(self, results: list[dict[str, Any]]) -> None:
        if self._learn is not None:
            report = json.loads(Path(results[-1]["report"]).read_text(encoding="utf-8"))
            self._learn(report)

    def _end(self, state: RunState, failure: Failure | None = None, results: tuple = (), imported: Any = None) -> None:
        if self._folder is not None:
            self._folder.remove()
            self._folder = None
        self.outcome = RunOutcome(state, failure, results, imported, self._job, tuple(self._findings))
        self._machine.to(state)
        self.finished.emit(self.outcome)

    def _say(self, text: str) -> None:
        if text:
            self._log.append(text)
            self.logChanged.emit(text)
