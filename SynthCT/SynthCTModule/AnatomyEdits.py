"""What a teacher does to an anatomy without drawing: grow, shrink, mirror, put a lesion in, take lesions out."""

from __future__ import annotations

from typing import Any

import numpy as np

from SynthCTModule.EnginePath import ensureEngineOnPath
from SynthCTModule.EngineText import engineText
from SynthCTModule.LabelArray import applyLabelArray, completeLabelArray, labelArray
from SynthCTModule.LabelNames import labelName
from SynthCTModule.Translation import _


def growStructure(segmentationNode: Any, labelId: int, millimeters: float) -> str:
    """Move the surface of a structure outward, or inward below 0; returns its volume before and after in words."""
    ensureEngineOnPath()
    from SynthCTLib.growth import grow_organ

    labels, affine = labelArray(segmentationNode)
    edit = grow_organ(labels, np.linalg.norm(affine[:3, :3], axis=0), labelId, millimeters)
    applyLabelArray(segmentationNode, labels, edit.labels, affine)
    return _("Volume {before:.0f} → {after:.0f} ml.").format(before=edit.before_ml, after=edit.after_ml)


def mirrorAnatomy(segmentationNode: Any) -> str:
    """Mirror left and right; returns what could not be named exactly, in sentences.

    Raises UnknownSegments: one that is not known would stay where it is.
    """
    ensureEngineOnPath()
    from SynthCTLib.mirror import mirror_left_right

    labels, affine = completeLabelArray(segmentationNode)
    edit = mirror_left_right(labels)
    applyLabelArray(segmentationNode, labels, edit.labels, affine)
    return " ".join((_("Mirrored."), *map(engineText, edit.notes)))


def putLesion(
    segmentationNode: Any, lesionId: int, millimeters: float, hostId: int | None, irregular: bool, seed: int
) -> str:
    """Put a lesion into an organ (None: into any that this lesion lies in by nature); returns its size in words."""
    ensureEngineOnPath()
    from SynthCTLib.lesion import put_lesion

    labels, affine = labelArray(segmentationNode)
    hosts = None if hostId is None else (hostId,)
    shape = "irregular" if irregular else "sphere"
    edit = put_lesion(labels, affine, lesionId, millimeters, host_ids=hosts, shape=shape, seed=seed)
    applyLabelArray(segmentationNode, labels, edit.labels, affine)
    lesion, organ = labelName(edit.lesion_id), labelName(edit.host)
    return _("{lesion}, {size:.0f} mm, in {organ}.").format(lesion=lesion, size=edit.diameter_mm, organ=organ)
