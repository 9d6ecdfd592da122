"""Distances between two sets of features."""

from __future__ import annotations

import numpy as np
from scipy import linalg


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of two Gaussians fitted to (n, d) features (Heusel et al., NeurIPS 2017, equation 6).

    |μ_a − μ_b|² + tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½). The trace of the root is the nuclear norm of A·Bᵀ, where A and B are
    the centered features / √(n−1): exact also with fewer samples than dimensions, where a matrix root is not stable.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    ca, cb = (a - a.mean(0)) / np.sqrt(len(a) - 1), (b - b.mean(0)) / np.sqrt(len(b) - 1)
    cross = linalg.svdvals(ca @ cb.T).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + (ca**2).sum() + (cb**2).sum() - 2 * cross)


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared MMD with the cubic kernel (xᵀy/d + 1)³ (Bińkowski et al., ICLR 2018, section 4)."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    d = a.shape[1]
    kaa, kbb, kab = ((x @ y.T / d + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    n, m = len(a), len(b)
    return float((kaa.sum() - kaa.trace()) / (n * (n - 1)) + (kbb.sum() - kbb.trace()) / (m * (m - 1)) - 2 * kab.mean())


def mean_frechet(reference: dict[str, list[np.ndarray]], other: dict[str, list[np.ndarray]]) -> float:
    """Mean over the planes of the Fréchet distance of two sets of volumes (plane → features of each volume)."""
    pairs = [(np.concatenate(reference[plane]), np.concatenate(other[plane])) for plane in reference]
    return float(np.mean([frechet_distance(a, b) for a, b in pairs]))
