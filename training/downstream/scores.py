"""How well a structure was found: Dice and normalized surface distance (Nikolov et al., arXiv 1809.04430), MONAI's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.metrics import compute_dice, compute_surface_dice
from monai.networks.utils import one_hot

Scores = dict[str, dict[str, float]]  # structure → dice, nsd
METRICS = ("dice", "nsd")
OVERALL = "mean of structures"


def score(
    found: np.ndarray, truth: np.ndarray, structures: Sequence[str], spacing: Sequence[float], tolerance: float
) -> Scores:
    """Dice and NSD of each structure, class 1 … in the order of ``structures``, and their means.

    ``found``, ``truth``: (X, Y, Z) classes; every structure is in ``truth``. ``tolerance``: mm that surfaces may be
    apart. A structure that was not found at all has 0 in both.
    """
    first, second = (
        one_hot(torch.from_numpy(array.astype(np.int64))[None, None], len(structures) + 1) for array in (found, truth)
    )
    dice = compute_dice(first, second, include_background=False)[0]
    limits = [tolerance] * len(structures)
    nsd = compute_surface_dice(first, second, limits, include_background=False, spacing=[float(s) for s in spacing])[0]
    result = {name: {"dice": float(dice[number]), "nsd": float(nsd[number])} for number, name in enumerate(structures)}
    means = {metric: float(np.mean([result[name][metric] for name in structures])) for metric in METRICS}
    return {**result, OVERALL: means}
