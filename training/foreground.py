"""Where the body is in MR, which has no unit: everything brighter than the background.

Smith, Hum Brain Mapp 2002 (BET): the background ends a tenth of the way between the 2nd and the 98th percentile.
"""

from __future__ import annotations

import numpy as np

from SynthCTLib.body import body_from_ct
from SynthCTLib.volume import Volume

PERCENTILES = (2.0, 98.0)
SHARE = 0.1
AIR, TISSUE = -1000, 0
"""HU that background and foreground stand for, so that CT and MR share what follows: pieces, thin things, holes."""


def body_from_mr(image: Volume) -> np.ndarray:
    """Where the body is in an MR image (any scale; axes RAS): bool (X, Y, Z), dark bone and air inside included."""
    low, high = np.percentile(image.array, PERCENTILES)
    bright = image.array > low + SHARE * (high - low)
    return body_from_ct(image.with_array(np.where(bright, TISSUE, AIR).astype(np.int16)))
