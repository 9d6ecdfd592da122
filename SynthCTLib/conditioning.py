"""Conditioning mask → the channels that ControlNet reads.

MAISI writes the label id as 8 bits, least significant first, at full image resolution (arXiv 2409.11169, section 3.3).
A card may add one channel, ``hu_prior``: the typical HU of the label divided by 1000, which tells a small network what
kind of tissue an id is before it has seen many cases of it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from SynthCTLib.labels import BODY, load_vocabulary

BITS = 8


def mask_channel_count(hu_prior: Mapping[str, float] | None) -> int:
    """Number of channels that :func:`encode_mask` gives."""
    return BITS + (1 if hu_prior else 0)


def encode_mask(labels: torch.Tensor, hu_prior: Mapping[str, float] | None = None) -> torch.Tensor:
    """Encode a label map for ControlNet.

    Args:
        labels: (N, X, Y, Z), integer, MAISI ids 0-255, axes RAS.
        hu_prior: typical HU by id (decimal text, as in JSON); ids that are absent count as −1000 (air). None or empty:
            bits only.

    Returns:
        (N, 8 or 9, X, Y, Z) float32; bits are 0 or 1, least significant first, the prior is HU / 1000.
    """
    ids = labels.to(torch.int32)
    bits = [(ids >> bit) & 1 for bit in range(BITS)]
    channels = [bit.to(torch.float32) for bit in bits]
    if hu_prior:
        table = torch.full((256,), -1.0)
        for key, hu in hu_prior.items():
            table[int(key)] = float(hu) / 1000.0
        channels.append(table.to(labels.device)[ids.long()])
    return torch.stack(channels, dim=1)


def without_tumors(labels: np.ndarray, replacements: Mapping[str, int]) -> np.ndarray:
    """The same mask without lesions: each lesion id takes the id of the organ around it.

    ``replacements`` maps lesion id → organ id (reference: 26→1, 24→4, 27→62, 116→14, 117→5). A lung tumor takes the
    lobe that has most voxels in the map, as in the reference, and becomes body where there is no lobe.
    """
    result = labels.copy()
    for lesion, organ in replacements.items():
        result[labels == int(lesion)] = organ
    vocabulary = load_vocabulary()
    tumor = labels == vocabulary.find("lung tumor").id
    if tumor.any():
        lobes, counts = np.unique(labels[np.isin(labels, vocabulary.group_ids("lung"))], return_counts=True)
        result[tumor] = lobes[counts.argmax()] if len(lobes) else BODY
    return result
