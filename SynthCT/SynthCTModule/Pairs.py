"""The same anatomy without its lesions, for a pair of CTs made with one seed."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from SynthCTModule.LabelArray import completeLabelArray
from SynthCTModule.LabelColors import vocabulary
from SynthCTModule.LabelNames import labelName
from SynthCTModule.SegmentationExchange import importLabelmap
from SynthCTModule.Translation import _


def withoutLesions(node: Any) -> Any:
    """A new segmentation in which every lesion has become the organ around it.

    Raises ValueError when there is no lesion, UnknownSegments where a segment would be missing in it.
    """
    labels, affine = completeLabelArray(node)
    if not np.isin(labels, [lesion.id for lesion in vocabulary().lesions()]).any():
        raise ValueError(_("There is no lesion in the anatomy; put one in first, or load a case with one."))
    return importLabelmap(healed(labels, affine), affine, _("{name} healthy").format(name=node.GetName()))


def healed(labels: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """``labels`` with each voxel of a lesion given to the nearest organ that this lesion may lie in.

    Raises ValueError when there is none near it.
    """
    from SynthCTLib.lesion import default_hosts

    result = labels.copy()
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    for lesion in vocabulary().lesions():
        mask = labels == lesion.id
        if not mask.any():
            continue
        box = _around(mask, spacing)
        hosts = np.isin(labels[box], default_hosts(lesion.id))
        if not hosts.any():
            text = _("{lesion} is not in an organ that it may lie in; remove it by hand.")
            raise ValueError(text.format(lesion=labelName(lesion.id)))
        nearest = ndimage.distance_transform_edt(~hosts, spacing, return_distances=False, return_indices=True)
        result[box][mask[box]] = labels[box][tuple(nearest)][mask[box]]
    return result


_MARGIN = 20.0
"""mm around a lesion within which its organ is looked for."""


def _around(mask: np.ndarray, spacing: np.ndarray) -> tuple[slice, ...]:
    box = ndimage.find_objects(mask.view(np.uint8))[0]
    return tuple(
        slice(max(0, part.start - int(_MARGIN / step)), part.stop + int(_MARGIN / step))
        for part, step in zip(box, spacing, strict=True)
    )
