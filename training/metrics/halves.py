"""How far are made volumes from real ones, measured in steps of how far real ones are from each other?

The real volumes are split into two halves, each part of the body alike. The made volumes of one half's masks are
compared with the real volumes of the other half, and so are the real ones: their distance is the floor. Nothing is
compared with the case that it was made from, and both sets have the same size, on which the Fréchet distance depends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Distance = Callable[[np.ndarray, np.ndarray], float]
Volumes = list[np.ndarray]  # features of one volume each, (slices, d)


def split_in_halves(groups: list[str], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Indices of two halves drawn at random, as alike in their groups as the numbers allow."""
    order = rng.permutation(len(groups))
    order = order[np.argsort(np.asarray(groups)[order], kind="stable")]
    return order[::2], order[1::2]


def distance_of_halves(
    distance: Distance, real: Volumes, made: Volumes, groups: list[str], paired: bool, rounds: int, seed: int
) -> dict[str, Any]:
    """Mean distance over random splits: ``value`` (made to real), ``floor`` (real to real), each with an interval.

    Args:
        real: features of the real volumes.
        made: features of the made ones; ``paired`` says that the i-th was made from the mask of the i-th real one.
        groups: part of the body of each real volume.
        rounds: number of random splits.

    The intervals (5 % to 95 %) are a bootstrap over volumes. A volume drawn twice makes a set smaller than it looks and
    so the distance larger; the percentiles are therefore moved by the difference of the means.
    """
    rng = np.random.default_rng(seed)
    plain, drawn = [], []
    for _ in range(rounds):
        a, b = split_in_halves(groups, rng)
        from_masks = a if paired else rng.permutation(len(made))[: len(a)]
        plain.append(_two_distances(distance, real, made, a, b, from_masks))
        again = (rng.choice(part, len(part)) for part in (a, b, from_masks))
        a, b, from_masks = again
        drawn.append(_two_distances(distance, real, made, a, b, a if paired else from_masks))
    value, floor = np.mean(plain, axis=0)
    shift = np.array([value, floor]) - np.mean(drawn, axis=0)
    low, high = np.percentile(drawn, [5, 95], axis=0) + shift
    return {
        "value": float(value),
        "floor": float(floor),
        "value_90_percent": [float(low[0]), float(high[0])],
        "floor_90_percent": [float(low[1]), float(high[1])],
    }


def score_of_halves(
    score: Distance, real: Volumes, made: Volumes, groups: list[str], paired: bool, rounds: int, seed: int
) -> dict[str, float]:
    """As :func:`distance_of_halves` for scores that a volume drawn twice would spoil: without intervals."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(rounds):
        a, b = split_in_halves(groups, rng)
        from_masks = a if paired else rng.permutation(len(made))[: len(a)]
        found.append(_two_distances(score, real, made, a, b, from_masks))
    value, floor = np.mean(found, axis=0)
    return {"value": float(value), "floor": float(floor)}


def _two_distances(
    distance: Distance, real: Volumes, made: Volumes, a: np.ndarray, b: np.ndarray, from_masks: np.ndarray
) -> tuple[float, float]:
    other = np.concatenate([real[i] for i in b])
    value = distance(np.concatenate([made[i] for i in from_masks]), other)
    return value, distance(np.concatenate([real[i] for i in a]), other)
