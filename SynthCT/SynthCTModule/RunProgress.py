"""How far a run is and how long it will still take, over all its stages, from the worker's progress events."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from SynthCTModule.Translation import _
from SynthCTModule.WorkerEvents import stageText

ONCE = ("start", "prepare", "load", "embed")
EACH = ("denoise", "decode", "write")
"""Stages before the first CT, and of each CT."""
OF_MASK = ("prepare", "embed")
"""Those that a model without a segmentation does not have."""

ROUGH = {"start": 6.0, "prepare": 1.0, "load": 1.0, "embed": 2.0, "denoise": 10.0, "decode": 6.0, "write": 2.0}
"""Seconds where nothing better is known; only their ratios matter after the first seconds."""

TRUST = 0.15
"""Share of the expected time that has to pass before the pace seen counts as much as the pace expected."""

SMOOTH = 3.0
"""Seconds in which the shown remaining time follows a new estimate; less at the beginning of a run."""


@dataclass(frozen=True)
class Progress:
    """``fraction`` of the whole run, 0 to 1, never falling; ``secondsLeft``: None while unknown."""

    fraction: float
    stage: str
    text: str
    secondsLeft: float | None


class RunProgress:
    """Follows one run.

    ``expected``: seconds by stage (those of EACH for one CT), from Estimates; ROUGH where a stage is missing.
    """

    def __init__(
        self,
        expected: Mapping[str, float] | None = None,
        count: int = 1,
        retries: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._expected = {**ROUGH, **(expected or {})}
        self._count, self._tries, self._clock = max(1, count), retries + 1, clock
        self._began = self._stageBegan = self._shownAt = clock()
        self._stage, self._share, self._image = "start", 0.0, 0
        self._fraction = 0.0
        self._end: float | None = None

    def step(self, stage: str, step: int, of: int) -> Progress:
        """Take in a progress event and say where the run is."""
        now = self._clock()
        if stage == "image":
            self._image = min(step // self._tries, self._count - 1)
            stage, step, of = "denoise", 0, 1
        if stage not in self._expected:
            stage = self._stage
        if stage != self._stage or step == 0:
            self._stage, self._stageBegan = stage, now
        self._share = min(1.0, step / of) if of else 0.0
        return self._look(now)

    def now(self) -> Progress:
        """Where the run is at this moment, between events."""
        return self._look(self._clock())

    def _look(self, now: float) -> Progress:
        done, left = self._doneSeconds(), self._leftSeconds(now)
        total = self._doneSeconds(everything=True)
        self._fraction = max(self._fraction, min(1.0, done / total))
        return Progress(self._fraction, self._stage, self._text(), self._smoothed(now, left))

    def _doneSeconds(self, everything: bool = False) -> float:
        """Expected seconds of what is done, or of the whole run."""
        once, each = (sum(self._expected[stage] for stage in stages) for stages in (ONCE, EACH))
        if everything:
            return once + self._count * each
        order = ONCE if self._stage in ONCE else EACH
        here = sum(self._expected[stage] for stage in order[: order.index(self._stage)])
        here += self._share * self._expected[self._stage]
        return here if order is ONCE else once + self._image * each + here

    def _leftSeconds(self, now: float) -> float:
        """Remaining seconds: this stage at its own pace the further it is, the others at the pace of the run."""
        done, total = self._doneSeconds(), self._doneSeconds(everything=True)
        pace = (now - self._began + TRUST * total) / (done + TRUST * total)
        stage = self._expected[self._stage]
        later = total - done - (1 - self._share) * stage
        expected = (1 - self._share) * stage * pace
        if self._share <= 0:
            return later * pace + expected
        own = (now - self._stageBegan) / self._share * (1 - self._share)
        return later * pace + self._share * own + (1 - self._share) * expected

    def _smoothed(self, now: float, left: float) -> float:
        """The end moves toward its new estimate by as much as time has passed."""
        end = now + left
        if self._end is None:
            self._end = end
        else:
            seconds = min(SMOOTH, max(0.1, (now - self._began) / 4))
            self._end += (end - self._end) * (1 - math.exp(-(now - self._shownAt) / seconds))
        self._shownAt = now
        return max(0.0, self._end - now)

    def _text(self) -> str:
        if self._count == 1 or self._stage in ONCE:
            return stageText(self._stage)
        text = _("{stage}, CT {number} of {count}")
        return text.format(stage=stageText(self._stage), number=self._image + 1, count=self._count)


def secondsText(seconds: float) -> str:
    """``8 s``, ``40 s``, ``3 min``, ``1 h 20 min``: rounded so far that it does not flicker."""
    if seconds < 10:
        return _("{n} s").format(n=max(1, math.ceil(seconds)))
    if seconds < 90:
        return _("{n} s").format(n=5 * round(seconds / 5))
    minutes = round(seconds / 60)
    if minutes < 60:
        return _("{n} min").format(n=minutes)
    hours, minutes = divmod(5 * round(seconds / 300), 60)
    return _("{h} h {n} min").format(h=hours, n=minutes) if minutes else _("{h} h").format(h=hours)
