"""Diversity in feature space: do the made volumes reach everywhere where real ones are?

A volume is one point: the mean features of its slices on each plane. Around each point of a set lies the ball that just
holds its three nearest neighbors of the set.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

NEAREST = 3


def radii(points: np.ndarray) -> np.ndarray:
    """(n,) distance of each of (n, d) points to its third nearest neighbor, or the farthest of fewer."""
    distances = np.sort(cdist(points, points), axis=1)
    return distances[:, min(NEAREST, len(points) - 1)]


def precision(made: np.ndarray, real: np.ndarray) -> float:
    """Share of the made points in a ball of a real one (Kynkäänniemi et al., NeurIPS 2019, equation 1)."""
    return float((cdist(made, real) <= radii(real)).any(1).mean())


def recall(made: np.ndarray, real: np.ndarray) -> float:
    """Share of the real points in a ball of a made one; one made far off has a large ball and makes it too good."""
    return precision(real, made)


def coverage(made: np.ndarray, real: np.ndarray) -> float:
    """Share of the real points whose ball holds a made one (Naeem et al., ICML 2020, equation 7)."""
    return float((cdist(real, made).min(1) <= radii(real)).mean())
