"""What a model is told besides the latent, read off its networks: the same in training, in the card and in sampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from SynthCTLib.conditioning import BITS
from SynthCTLib.conditions import build_conditions
from SynthCTLib.errors import InputError
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.regions import Region, parse_region, region_from_labels

MODALITY_CLASSES = {
    "unknown": 0,
    "ct": 1,
    "ct_wo_contrast": 2,
    "ct_contrast": 3,
    "mr": 8,
    "mri": 8,
    "mri_t1": 9,
    "mri_t2": 10,
    "mri_flair": 11,
    "mri_pd": 12,
    "mri_dwi": 13,
    "mri_adc": 14,
    "mri_ssfp": 15,
    "mri_mra": 16,
    "mri_t1c": 17,
    "mri_swi": 20,
    "mri_t1_skull_stripped": 29,
    "mri_t2_skull_stripped": 30,
    "mri_flair_skull_stripped": 31,
    "mri_swi_skull_stripped": 32,
    "mri_mra_skull_stripped": 33,
}
"""MAISI-v2's class labels of the modalities (NV-Generate-CTMR)."""


def hu_prior() -> dict[str, float]:
    """Typical HU by label id, for the mask's ninth channel."""
    return {str(label.id): label.hu_typical for label in load_vocabulary().labels if label.hu_typical is not None}


def conditioning_of(network: Mapping[str, Any]) -> dict[str, Any]:
    """The card's section *conditioning* for the networks of a config.

    A ControlNet with 8 mask channels reads MAISI's bits, one with 9 the typical HU as well. A U-Net with class
    embeddings knows modalities (MAISI-v2), one with region inputs the body region (MAISI-v1).

    Raises InputError for another number of mask channels, or for one region input without the other.
    """
    unet = network["unet"]
    channels = network["controlnet"]["conditioning_embedding_in_channels"]
    if channels not in (BITS, BITS + 1):
        raise InputError(
            f"network.controlnet.conditioning_embedding_in_channels is {channels}; use {BITS} (bits of the label) or "
            f"{BITS + 1} (with the typical HU)."
        )
    regions = {bool(unet.get(f"include_{side}_region_index_input")) for side in ("top", "bottom")}
    if len(regions) > 1:
        raise InputError("network.unet needs both of include_top_region_index_input and include_bottom_…, or none.")
    classes = unet.get("num_class_embeds") is not None
    return {
        "hu_prior": hu_prior() if channels > BITS else None,
        "spacing_factor": 100,
        "class_label": MODALITY_CLASSES["ct"] if classes else None,
        "body_region": regions.pop(),
        "region_factor": 100,
        "guidance_class_label": MODALITY_CLASSES["unknown"] if classes else None,
    }


def class_label(modality: str) -> int:
    """MAISI's class label of a modality such as ``ct`` or ``mri_t1``; InputError names the known ones."""
    if modality not in MODALITY_CLASSES:
        raise InputError(f"The modality '{modality}' has no class; use one of {', '.join(MODALITY_CLASSES)}.")
    return MODALITY_CLASSES[modality]


def region_of(mask: np.ndarray, stated: Sequence[str], case: str) -> Region:
    """The body region that a crop shows: by its labels as the engine does, else what is stated for the whole case.

    Raises InputError where neither tells.
    """
    shown = region_from_labels(np.unique(mask).tolist())
    if shown is not None:
        return shown
    if not stated:
        raise InputError(
            f"Nothing says which part of the body {case} shows, which this model must know; give 'region' for it in "
            "the config of the stage 'prepare'."
        )
    return parse_region(" ".join(stated))


def condition_tensors(
    conditioning: Mapping[str, Any], spacing: Sequence[float], region: Region | None, label: int
) -> dict[str, torch.Tensor]:
    """The inputs (1, …) of :func:`SynthCTLib.denoiser.predict` by name, those that the model has.

    ``spacing``: mm along X, Y, Z. ``label``: class label, ignored by models without classes.
    """
    with_label = {**conditioning, "class_label": None if conditioning["class_label"] is None else label}
    built = build_conditions(with_label, spacing, region)
    values = {
        "spacing": built.spacing,
        "class_labels": built.class_label,
        "top_region": built.top_region,
        "bottom_region": built.bottom_region,
    }
    return {name: value for name, value in values.items() if value is not None}
