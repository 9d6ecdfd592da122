"""Diversity: MS-SSIM of pairs. Made volumes that resemble each other more than real patients do show a lack of it."""

from __future__ import annotations

import numpy as np
import torch
from monai.metrics import MultiScaleSSIMMetric

from training.metrics.canonical import canonical

SIDE = 64
WEIGHTS = (0.0448, 0.2856, 0.3001)  # Wang et al., Asilomar 2003: the first three of five scales, which 64³ allows
PAIRS = 40


def pair_similarity(volumes: list[np.ndarray], groups: list[str], seed: int) -> float:
    """Mean MS-SSIM of up to 40 random pairs of the same group, bodies scaled to 64³ voxels, −1000…1000 HU.

    nan where no group has two volumes.
    """
    pairs = [(i, j) for i in range(len(volumes)) for j in range(i) if groups[i] == groups[j]]
    if not pairs:
        return float("nan")
    order = np.random.default_rng(seed).permutation(len(pairs))[:PAIRS]
    small = {
        i: torch.from_numpy(canonical(volumes[i], SIDE, -1000, 1000))[None, None]
        for i in {k for n in order for k in pairs[n]}
    }
    weights = tuple(w / sum(WEIGHTS) for w in WEIGHTS)
    similarity = MultiScaleSSIMMetric(spatial_dims=3, data_range=1.0, kernel_size=5, weights=weights)
    return float(
        np.mean([torch.as_tensor(similarity(small[i], small[j])).item() for i, j in (pairs[n] for n in order)])
    )


def diversity_gap(made: list[np.ndarray], real: list[np.ndarray], groups: list[str] | None, seed: int) -> dict:
    """``value`` of the made, ``real`` of the real pairs, ``gap`` = value − real: above 0 there is less variety.

    ``groups`` is None where it is not known what the made volumes show; pairs are then drawn among all.
    """
    value = pair_similarity(made, groups or [""] * len(made), seed)
    truth = pair_similarity(real, groups or [""] * len(real), seed)
    return {"value": value, "real": truth, "gap": value - truth}
