"""Gray values → the unit range of the autoencoder, by modality: a fixed window for CT, percentiles for MR.

CT: [−1000, 1000] HU → [0, 1], cut off. MR: 0th to 99.5th percentile of the volume → [0, 1], not cut off above (MAISI,
arXiv 2409.11169, section 4.1). Prepared cases say their ``modality``; without a word it is CT. The image of a case is
``ct.npy`` or ``mr.npy`` in its folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from SynthCTLib.errors import InputError

CT_WINDOW = (-1000.0, 1000.0)
MR_PERCENTILES = (0.0, 99.5)


def hu_to_unit(hu: torch.Tensor, low: float = CT_WINDOW[0], high: float = CT_WINDOW[1]) -> torch.Tensor:
    """Map HU to [0, 1] and cut off beyond."""
    return (hu.clamp(low, high) - low) / (high - low)


@dataclass(frozen=True)
class Image:
    """One prepared image (X, Y, Z), mapped from disk, with the values that become 0 and 1."""

    array: np.ndarray
    modality: str
    low: float
    high: float

    @property
    def is_ct(self) -> bool:
        """Whether the values are HU."""
        return self.modality == "ct"

    def unit(self, part: np.ndarray) -> torch.Tensor:
        """A part of the image in the unit range, float32."""
        values = torch.from_numpy(np.asarray(part, np.float32))
        return hu_to_unit(values) if self.is_ct else (values - self.low) / (self.high - self.low)


def modality_of(meta: Mapping[str, Any]) -> str:
    """``ct`` or ``mr`` of a prepared case. Raises InputError for another modality."""
    stated = str(meta.get("modality", "ct"))
    family = family_of(stated)
    if family is None:
        raise InputError(f"The case {meta['case_id']} has the modality '{stated}'; the autoencoder knows CT and MR.")
    return family


def family_of(modality: str) -> str | None:
    """``ct`` or ``mr`` of a modality such as ``ct_contrast`` or ``mri_t1``; None for another one."""
    for family in ("ct", "mr"):
        if modality.lower() == family or modality.lower().startswith((f"{family}_", f"{family}i")):
            return family
    return None


def open_image(prepared: Path, meta: Mapping[str, Any]) -> Image:
    """The image of a prepared case. Raises InputError if its file is missing or shows one value only."""
    modality = modality_of(meta)
    path = Path(prepared) / meta["case_id"] / f"{modality}.npy"
    if not path.is_file():
        raise InputError(f"{path} is missing: run the stage 'prepare' again.")
    array = np.load(path, mmap_mode="r")
    if modality == "ct":
        return Image(array, modality, *CT_WINDOW)
    low, high = (float(p) for p in np.percentile(array, MR_PERCENTILES))
    if high <= low:
        raise InputError(f"{path} has nearly one value everywhere; leave the case out with the config's 'exclude'.")
    return Image(array, modality, low, high)
