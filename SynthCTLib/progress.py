"""Progress and cancellation, injected into all long work so that a terminal, a worker or a test can listen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from SynthCTLib.errors import Cancelled


@dataclass(frozen=True)
class ProgressEvent:
    """``step`` of ``of`` in ``stage``; ``seconds_left`` is an estimate for this stage, None while unknown."""

    stage: str
    step: int
    of: int
    seconds_left: float | None


class Progress:
    """Turns steps into events with remaining time and stops the work when ``cancelled()`` becomes true."""

    def __init__(
        self,
        listener: Callable[[ProgressEvent], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        self._listener = listener
        self._cancelled = cancelled
        self._stage = ""
        self._began = 0.0

    def check(self) -> None:
        """Raise :class:`Cancelled` if the user asked to stop."""
        if self._cancelled is not None and self._cancelled():
            raise Cancelled("Cancelled; nothing was written.")

    def step(self, stage: str, step: int, of: int) -> None:
        """Report that ``step`` of ``of`` in ``stage`` is done (0 = the stage begins). Raises Cancelled."""
        self.check()
        now = time.monotonic()
        if stage != self._stage or step == 0:
            self._stage, self._began = stage, now
        left = (now - self._began) / step * (of - step) if step > 0 else None
        if self._listener is not None:
            self._listener(ProgressEvent(stage, step, of, left))
