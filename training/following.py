"""Does a CT follow its mask? Dice of structures found again by HU alone, and median HU per label."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from SynthCTLib.labels import load_vocabulary

SOFT_HOLLOW = (11, 12, 13, 15, 19, 57, 62)  # air or contrast inside; a median says little


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """2|A∩B| / (|A|+|B|); nan where both are empty."""
    total = int(a.sum()) + int(b.sum())
    return float(2 * np.logical_and(a, b).sum() / total) if total else float("nan")


def threshold_dice(hu: np.ndarray, mask: np.ndarray, least: int = 500) -> dict[str, float]:
    """Dice of lung (< −500 HU in the body, gaps closed), bone (> 130 HU), body (> −300 HU, filled) with the mask.

    Structures of fewer than ``least`` voxels are left out.
    """
    body_mask = mask > 0
    result = {}
    lung = np.isin(mask, load_vocabulary().group_ids("lung"))
    if lung.sum() >= least:
        near = ndimage.binary_dilation(lung, iterations=6)
        dark = np.pad((hu < -500) & body_mask & (mask != 57) & near, 1, mode="edge")  # closing erodes at the border
        found = ndimage.binary_closing(dark, iterations=1)[1:-1, 1:-1, 1:-1]
        result["lung"] = dice(found, lung)
    bone = np.isin(mask, load_vocabulary().group_ids("bone"))
    if bone.sum() >= least:
        result["bone"] = dice((hu > 130) & body_mask, bone)
    found = hu > -300
    for z in range(found.shape[2]):
        found[:, :, z] = ndimage.binary_fill_holes(found[:, :, z])
    result["body"] = dice(found, body_mask)
    return result


def median_by_label(hu: np.ndarray, mask: np.ndarray, least: int = 100) -> dict[int, float]:
    """Median HU of every label with at least ``least`` voxels, without air-filled organs and the body label."""
    order = np.argsort(mask, axis=None, kind="stable")
    ids, starts = np.unique(mask.ravel()[order], return_index=True)
    parts = np.split(hu.ravel()[order], starts[1:])
    return {
        int(i): float(np.median(p))
        for i, p in zip(ids, parts, strict=True)
        if i not in (0, 200, *SOFT_HOLLOW) and len(p) >= least
    }
