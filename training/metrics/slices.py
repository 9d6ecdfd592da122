"""2.5D: slices of a CT volume along three planes, as pictures for a 2D network.

The protocol follows MAISI's (planes, central slices, spatial mean) with fixed numbers of slices, square pixels and the
window of the whole HU range; MAISI's own, which depends on the data, is in ``radimagenet.py``.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

PLANES = ("sagittal", "coronal", "axial")  # in the order of the axes they lie across
CENTRAL = 0.6


def to_unit(hu: torch.Tensor) -> torch.Tensor:
    """HU −1000…1000 → 0…1, cut off beyond."""
    return (hu.clamp(-1000, 1000) + 1000) / 2000


def central_slices(
    hu: np.ndarray, spacing: tuple[float, float, float], axis: int, count: int, side: int
) -> torch.Tensor:
    """(count, side, side) pictures in 0…1: equidistant slices of the central 60 % of an axis, square pixels in mm."""
    n = hu.shape[axis]
    edge = (1 - CENTRAL) / 2
    positions = np.linspace(edge * (n - 1), (1 - edge) * (n - 1), count).round().astype(int)
    images = torch.from_numpy(np.take(hu, positions, axis).astype(np.float32)).movedim(axis, 0)
    height, width = (images.shape[i + 1] * s for i, s in enumerate(s for a, s in enumerate(spacing) if a != axis))
    scale = side / max(height, width)
    size = (max(8, round(height * scale)), max(8, round(width * scale)))
    unit = F.interpolate(to_unit(images)[:, None], size=size, mode="bilinear", align_corners=False, antialias=True)
    return F.pad(unit, (0, side - size[1], 0, side - size[0]))[:, 0]
