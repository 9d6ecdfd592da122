"""Do the organs have the density of organs? Medians of organ groups against their accepted ranges and real CT."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from SynthCTLib.labels import load_vocabulary
from SynthCTLib.organ_check import check_organs
from training.metrics.summary import summary

SOFT_HOLLOW = (11, 12, 13, 15, 19, 57, 62)  # air or contrast inside; a median says little


def group_verdicts(hu: np.ndarray, mask: np.ndarray) -> dict[str, bool]:
    """Name of each judged organ group → whether its median HU is in the accepted range."""
    results = check_organs(hu, mask, load_vocabulary())
    return {r.group: r.verdict == "ok" for r in results if r.group and r.verdict in ("ok", "low", "high")}


def organ_hu_in_range(made: list[np.ndarray], real: list[np.ndarray], masks: list[np.ndarray]) -> dict:
    """Share of organ groups in range over all cases, of the made (``value``) and real CTs, and both per group."""
    found: dict[str, dict[str, list[bool]]] = defaultdict(lambda: {"value": [], "real": []})
    for ours, theirs, mask in zip(made, real, masks, strict=True):
        for key, hu in (("value", ours), ("real", theirs)):
            for group, ok in group_verdicts(hu, mask).items():
                found[group][key].append(ok)
    groups = {
        name: {"value": float(np.mean(v["value"])), "real": float(np.mean(v["real"])), "n": len(v["value"])}
        for name, v in sorted(found.items())
    }
    total = {key: [ok for v in found.values() for ok in v[key]] for key in ("value", "real")}
    shares = {key: float(np.mean(v)) if v else float("nan") for key, v in total.items()}
    return {**shares, "n": len(total["value"]), "groups": groups}


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


def organ_median_error(made: list[np.ndarray], real: list[np.ndarray], masks: list[np.ndarray]) -> dict[str, float]:
    """Distance in HU of each organ's median from that of the real CT of the same mask."""
    errors = []
    for ours, theirs, mask in zip(made, real, masks, strict=True):
        found, truth = median_by_label(ours, mask), median_by_label(theirs, mask)
        errors += [abs(found[label] - truth[label]) for label in truth]
    return summary(errors)
