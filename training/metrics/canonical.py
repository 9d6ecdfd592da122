"""Volumes on one small common grid: the box of the body, so that CTs of different size and place can be compared."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

BODY_HU = -300


def body_box(hu: np.ndarray) -> tuple[slice, slice, slice]:
    """Smallest box around all voxels denser than −300 HU; the whole volume where there are none."""
    box = []
    for axis in range(3):
        inside = np.flatnonzero((hu > BODY_HU).any(axis=tuple(a for a in range(3) if a != axis)))
        box.append(slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, hu.shape[axis]))
    return box[0], box[1], box[2]


def canonical(hu: np.ndarray, side: int, low: float, high: float) -> np.ndarray:
    """(side, side, side) float32: the body box averaged down, HU low…high → 0…1."""
    window = (np.clip(hu[body_box(hu)].astype(np.float32), low, high) - low) / (high - low)
    return F.adaptive_avg_pool3d(torch.from_numpy(window)[None, None], side)[0, 0].numpy()
