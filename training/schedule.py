"""Learning-rate schedules as pure functions of the step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def warmup_cosine(step: int, warmup: int, total: int, floor: float = 0.05) -> float:
    """Factor on the base learning rate: linear warm-up, then cosine to ``floor``."""
    if step < warmup:
        return (step + 1) / warmup
    phase = min(1.0, (step - warmup) / max(1, total - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * phase))


def staged(step: int, stages: Sequence[Sequence[Any]]) -> Any:
    """The value at ``step`` of a list of (from step, value); the first one also holds before it begins."""
    return next((value for first, value in reversed(stages) if step >= first), stages[0][1])


def warmup_polynomial(step: int, warmup: int, total: int, power: float = 2.0) -> float:
    """Factor on the base learning rate: linear warm-up, then (1 − share of the steps done)^power, as MAISI has it."""
    if step < warmup:
        return (step + 1) / warmup
    return max(0.0, 1 - (step - warmup) / max(1, total - warmup)) ** power
