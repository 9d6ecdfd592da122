"""Lesions painted into real CTs, since no case of the training data has labeled ones.

Form and place come from :mod:`SynthCTLib.lesion`; what each lesion looks like is data (``simulated_lesions.json``:
HU or HU below the host, diameters, where the values come from). Each kind has one look, the most common one: a label
that stands for dark and for bright lesions alike would teach their mean, which is no lesion at all.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scipy import ndimage

from SynthCTLib.errors import InputError
from SynthCTLib.lesion import default_hosts, put_lesion

LOOKS: dict[int, dict] = {
    int(key): look for key, look in json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8")).items()
}
EDGE_MM = 1.5
"""Standard deviation of the blurred border."""
TEXTURE_MM, TEXTURE_HU = 3.0, 30.0
"""Detail of the host that stays in the lesion: below this scale, and at most this strong (noise, not vessels)."""


def simulate_lesions(
    hu: np.ndarray, mask: np.ndarray, spacing: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Up to ``count`` lesions in organs that the mask has and whose HU are those of the organ.

    Args:
        hu: (X, Y, Z) HU. mask: MAISI ids. spacing: mm.

    Returns:
        HU and mask with lesions (copies), and the lesions' ids.
    """
    hu, mask = hu.astype(np.float32), mask.copy()
    present = set(np.unique(mask).tolist())
    possible = [lesion for lesion in LOOKS if present & set(default_hosts(lesion))]
    painted: list[int] = []
    for _ in range(3 * count if possible else 0):
        lesion = int(rng.choice(possible))
        look = LOOKS[lesion]
        try:
            edit = put_lesion(
                mask,
                np.diag([*spacing, 1.0]),
                lesion,
                rng.uniform(*look["diameter_mm"]),
                shape="irregular",
                seed=int(rng.integers(2**31)),
            )
        except InputError:  # no room for this size
            continue
        lump = (edit.labels == lesion) & (mask != lesion)
        host = float(np.median(hu[lump]))
        low, high = look["host_hu"]
        if not low <= host <= high:  # a mask that does not fit the CT here
            continue
        level = rng.uniform(*look["hu"]) if "hu" in look else host - rng.uniform(*look["below_host"])
        paint_lesion(hu, lump, level, spacing)
        mask = edit.labels
        painted.append(lesion)
        if len(painted) == count:
            break
    return hu, mask, painted


def paint_lesion(hu: np.ndarray, lump: np.ndarray, level: float, spacing: np.ndarray) -> None:
    """Bring ``hu`` to ``level`` within ``lump``, with a blurred border and the noise that was there, in place."""
    margin = np.ceil(4 * max(EDGE_MM, TEXTURE_MM) / spacing).astype(int)
    corners = np.argwhere(lump)
    box = tuple(
        slice(max(0, a - m), b + m + 1) for a, b, m in zip(corners.min(0), corners.max(0), margin.tolist(), strict=True)
    )
    weight = ndimage.gaussian_filter(lump[box].astype(np.float32), EDGE_MM / spacing)
    texture = np.clip(hu[box] - ndimage.gaussian_filter(hu[box], TEXTURE_MM / spacing), -TEXTURE_HU, TEXTURE_HU)
    hu[box] += weight * (level + texture - hu[box])
