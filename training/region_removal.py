"""Structures taken out of a mask: the masks that the region-contrastive loss compares with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from SynthCTLib.labels import BODY, load_vocabulary


def remove_regions(mask: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """A mask (X, Y, Z) uint8 in which the structures ``ids`` are what is around them; the same array without them.

    A lesion with one fixed surrounding organ becomes that organ, as in the reference; anything else takes the label of
    the nearest voxel outside.
    """
    if not np.isin(mask, ids).any():
        return mask
    vocabulary = load_vocabulary()
    result = mask.copy()
    for label in ids:
        host = vocabulary.by_id(label).host
        if host is not None:
            result[mask == label] = host
    (box,) = ndimage.find_objects(np.isin(result, ids).astype(np.uint8)) or [None]
    if box is not None:
        # The voxel nearest to a voxel of the region is never farther away than one voxel beyond the region's box.
        wider = tuple(slice(max(0, axis.start - 1), axis.stop + 1) for axis in box)
        result[wider] = _nearest_outside(result[wider], ids)
    return result


def _nearest_outside(part: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    inside = np.isin(part, ids)
    if inside.all():
        return np.full_like(part, BODY)
    nearest = ndimage.distance_transform_edt(inside, return_distances=False, return_indices=True)
    return part[tuple(nearest)]
