"""Labels handed back to the body (200) while training, as users leave organs out and most cases are labeled in part.

In a case where only the liver was drawn, 200 means "anything"; in one with all organs it means "none of them". A
network that always saw complete masks would paint no kidney where none is labeled. Dropping labels from complete cases
makes the first meaning the rule for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from SynthCTLib.labels import BODY, Label, load_vocabulary

KEPT_GROUPS = ("Spine", "Ribs and sternum", "Other bones", "Respiratory", "Nervous", "Body", "Unused", "Lesions")
"""What is never dropped: bone, lung and brain are in every mask, since thresholds find them, so that their absence does
mean "none". A lesion that is not labeled would teach that healthy organs have lesions."""


@dataclass(frozen=True)
class DropoutSettings:
    """``probability`` that a crop loses labels at all, and then the ``share`` of its labels that are lost."""

    probability: float = 0.2
    share: float = 0.3


def may_be_left_out(label: Label) -> bool:
    """Organs that may be handed to the body label: soft ones, whose absence an unlabeled region does not contradict."""
    return label.group not in KEPT_GROUPS


@lru_cache(maxsize=1)
def _droppable() -> np.ndarray:
    return np.array([label.id for label in load_vocabulary().labels if may_be_left_out(label)])


def drop_labels(mask: np.ndarray, settings: DropoutSettings, rng: np.random.Generator) -> np.ndarray:
    """A mask (uint8 ids) with fewer labels, or the same mask."""
    if rng.random() >= settings.probability:
        return mask
    present = np.intersect1d(np.unique(mask), _droppable())
    gone = present[rng.random(len(present)) < settings.share]
    return np.where(np.isin(mask, gone), np.uint8(BODY), mask)
