"""Learning-rate schedules as pure functions of the step."""

from __future__ import annotations

import math


def warmup_cosine(step: int, warmup: int, total: int, floor: float = 0.05) -> float:
    """Factor on the base learning rate: linear warm-up, then cosine to ``floor``."""
    if step < warmup:
        return (step + 1) / warmup
    phase = min(1.0, (step - warmup) / max(1, total - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * phase))
