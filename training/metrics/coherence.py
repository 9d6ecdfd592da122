"""3D coherence: how alike are neighboring slices, along each axis, from one end of the body to the other?"""

from __future__ import annotations

import numpy as np
import torch
from monai.metrics import SSIMMetric

from training.metrics.canonical import body_box
from training.metrics.slices import PLANES, to_unit

POINTS = 16


def slice_profile(hu: np.ndarray, axis: int) -> np.ndarray:
    """(16,) SSIM of neighboring slices at equal steps through the body; window 7 pixels, −1000…1000 HU."""
    slices = to_unit(torch.from_numpy(hu[body_box(hu)].astype(np.float32)).movedim(axis, 0))[:, None]
    if len(slices) < 2 or min(slices.shape[2:]) < 7:
        return np.full(POINTS, np.nan)
    values = torch.as_tensor(SSIMMetric(spatial_dims=2, data_range=1.0, win_size=7)(slices[:-1], slices[1:]))[:, 0]
    return np.interp(np.linspace(0, 1, POINTS), np.linspace(0, 1, len(values)), values.numpy())


def coherence(made: list[np.ndarray], real: list[np.ndarray]) -> dict[str, dict]:
    """Per plane: mean SSIM of neighbors (``value``, ``real``), the profiles, and their mean distance (``gap``)."""
    result = {}
    for axis, plane in enumerate(PLANES):
        ours, theirs = (np.nanmean([slice_profile(hu, axis) for hu in hus], axis=0) for hus in (made, real))
        result[plane] = {
            "value": float(ours.mean()),
            "real": float(theirs.mean()),
            "gap": float(np.abs(ours - theirs).mean()),
            "profile": [round(float(v), 4) for v in ours],
            "real_profile": [round(float(v), 4) for v in theirs],
        }
    return result
