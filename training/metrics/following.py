"""Does a CT follow its mask? Dice of structures found again by HU alone."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from SynthCTLib.labels import load_vocabulary
from training.metrics.summary import summary


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


def following(made: list[np.ndarray], real: list[np.ndarray], masks: list[np.ndarray]) -> dict[str, dict]:
    """Per structure the mean Dice with the mask, of the made CTs (``value``) and the real ones, and value / real."""
    found = {
        key: [threshold_dice(hu, m) for hu, m in zip(hus, masks, strict=True)]
        for key, hus in (("value", made), ("real", real))
    }
    result = {}
    for structure in ("lung", "bone", "body"):
        ours, theirs = (summary([d[structure] for d in found[key] if structure in d]) for key in ("value", "real"))
        if ours["n"]:
            share = ours["mean"] / theirs["mean"] if theirs["mean"] else float("nan")
            result[structure] = {
                "value": ours["mean"],
                "real": theirs["mean"],
                "share": share,
                "worst": ours["min"],
                "n": ours["n"],
            }
    return result
