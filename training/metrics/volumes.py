"""Do bodies, bones and lungs have the sizes that real ones have? By thresholds alone, so that no mask is needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage, stats

from training.metrics.canonical import BODY_HU

BONE_HU, AIR_HU = 200, -500
STRUCTURES = ("body", "bone", "air in the body")

Volume = tuple[np.ndarray, Sequence[float]]  # HU (X, Y, Z), spacing in mm


def volumes_ml(hu: np.ndarray, spacing: Sequence[float]) -> dict[str, float]:
    """Milliliters of the body (> −300 HU, the largest piece, axial slices filled), and of bone (> 200 HU) and air
    (< −500 HU) inside it."""
    pieces, count = ndimage.label(hu > BODY_HU)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    body = pieces == (int(sizes.argmax()) + 1 if count else 1)
    for z in range(body.shape[2]):
        body[:, :, z] = ndimage.binary_fill_holes(body[:, :, z])
    voxel = float(np.prod(spacing)) / 1000
    found = (body, body & (hu > BONE_HU), body & (hu < AIR_HU))
    return {name: float(mask.sum()) * voxel for name, mask in zip(STRUCTURES, found, strict=True)}


def volume_distances(
    made: Sequence[Volume], real: Sequence[Volume], others: Sequence[Volume]
) -> dict[str, dict[str, float]]:
    """Per structure the Wasserstein distance in milliliters of the made volumes' sizes from the real ones' (``value``),
    and that of other real patients (``floor``); ``mean`` of the made and of the real ones."""
    sizes = [[volumes_ml(*volume) for volume in volumes] for volumes in (made, real, others)]
    result = {}
    for name in STRUCTURES:
        ours, theirs, elses = ([size[name] for size in group] for group in sizes)
        result[name] = {
            "value": float(stats.wasserstein_distance(ours, theirs)),
            "floor": float(stats.wasserstein_distance(elses, theirs)),
            "mean": float(np.mean(ours)),
            "real_mean": float(np.mean(theirs)),
        }
    return result
