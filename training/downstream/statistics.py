"""Means with intervals, and paired comparisons over patients."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

RESAMPLES = 5000
LEVEL = (2.5, 97.5)


def interval(values: np.ndarray, seed: int = 0) -> list[float]:
    """95 % bootstrap interval (percentiles) of the mean over patients: ``values`` (patients,)."""
    picks = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[picks].mean(1), LEVEL)
    return [float(low), float(high)]


def mean_with_interval(values: np.ndarray) -> dict[str, Any]:
    """``mean``, its ``interval_95`` and ``n``."""
    return {"mean": float(values.mean()), "interval_95": interval(values), "n": len(values)}


def paired_comparison(first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """``first`` against ``second``, both (patients,) and of the same patients in the same order.

    ``difference``: mean of first − second with ``interval_95``; ``p``: Wilcoxon signed-rank test, two-sided;
    ``effect``: matched-pairs rank-biserial correlation, (W₊ − W₋) / (W₊ + W₋), from −1 to 1
    (Kerby, Comprehensive Psychology 2014, 3:11.IT.3.1).
    """
    difference = first - second
    moved = difference[difference != 0]
    result = {"difference": float(difference.mean()), "interval_95": interval(difference), "n": len(difference)}
    if not len(moved):
        return {**result, "p": 1.0, "effect": 0.0}
    ranks = stats.rankdata(np.abs(moved))
    effect = float((ranks * np.sign(moved)).sum() / ranks.sum())
    return {**result, "p": float(stats.wilcoxon(moved).pvalue), "effect": effect}
