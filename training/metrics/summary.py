"""A list of numbers in five."""

from __future__ import annotations

import numpy as np


def summary(values: list[float]) -> dict[str, float]:
    """Mean, standard deviation, minimum, maximum and number of the finite values."""
    finite = np.array([v for v in values if np.isfinite(v)])
    if not len(finite):
        return {"n": 0}
    limits = {"min": float(finite.min()), "max": float(finite.max())}
    return {"mean": float(finite.mean()), "sd": float(finite.std()), **limits, "n": len(finite)}
