"""Long work in steps, between which Slicer's window stays alive."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import qt

from SynthCTModule.Work import OnDone

PAUSE = 10
"""Milliseconds between two steps."""


class Steps:
    """Runs one generator at a time, a step for each timeout of a timer; it yields where it may pause."""

    def __init__(self) -> None:
        self._work: Generator[None, None, Any] | None = None
        self._onDone: OnDone | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(PAUSE)
        self._timer.connect("timeout()", self.step)

    @property
    def busy(self) -> bool:
        """Whether there is work to be done."""
        return self._work is not None

    def start(self, work: Generator[None, None, Any], onDone: OnDone) -> None:
        """Begin; onDone gets None in the end, or what the work has raised. Raises RuntimeError while busy."""
        if self.busy:
            raise RuntimeError("The work before has not ended.")
        self._work, self._onDone = work, onDone
        self._timer.start()

    def stop(self) -> None:
        """Give up without a word; the generator tidies up, in the middle of its own step when that has ended."""
        self._timer.stop()
        work, self._work, self._onDone = self._work, None, None
        if work is not None and not work.gi_running:
            work.close()

    def step(self) -> None:
        """Take one step; the timer does, and who waits without an event loop."""
        work = self._work
        if work is None or work.gi_running:  # somebody shows a dialog in the middle of a step, and the timer goes on
            return
        try:
            next(work)
        except StopIteration:
            self._end(work, None)
        except Exception as error:
            self._end(work, error)
        except BaseException:  # as KeyboardInterrupt: the work has ended, and not well
            self.stop()
            raise
        else:
            if self._work is not work:  # given up meanwhile
                work.close()

    def _end(self, work: Generator[None, None, Any], error: Exception | None) -> None:
        if self._work is not work:  # given up in its last step: nobody waits for it
            return
        onDone = self._onDone
        self.stop()
        if onDone is not None:
            onDone(error)
