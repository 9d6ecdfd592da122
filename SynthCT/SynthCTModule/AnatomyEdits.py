"""What a teacher does to an anatomy without drawing: grow, shrink, mirror, put a lesion in, take lesions out.

Each edit works in steps (SynthCTModule.Work): it copies the voxels, computes with the copy in a thread, and changes the
segments in the end, all at once. Scripts take ``finished(growStructure(node, 1, 3.0))``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from SynthCTModule.AnatomySnapshot import snapshot
from SynthCTModule.EnginePath import ensureEngineOnPath
from SynthCTModule.EngineText import engineText
from SynthCTModule.LabelArray import labeled
from SynthCTModule.LabelChange import Box, applyChange, labelChange
from SynthCTModule.LabelNames import labelName
from SynthCTModule.SegmentationExchange import stopAtUnknown
from SynthCTModule.Translation import _
from SynthCTModule.Work import inBackground

EVERYWHERE: Box = (slice(None), slice(None), slice(None))


def growStructure(segmentationNode: Any, labelId: int, millimeters: float) -> Generator[None, None, str]:
    """Move the surface of a structure outward, or inward below 0; returns its volume before and after in words."""
    ensureEngineOnPath()
    from SynthCTLib.growth import GrowthEdit, grow_organ

    def grow(labels: np.ndarray, affine: np.ndarray) -> tuple[GrowthEdit, Box]:
        edit = grow_organ(labels, np.linalg.norm(affine[:3, :3], axis=0), labelId, millimeters)
        return edit, edit.box

    edit = yield from _edited(segmentationNode, grow)
    return _("Volume {before:.0f} → {after:.0f} ml.").format(before=edit.before_ml, after=edit.after_ml)


def mirrorAnatomy(segmentationNode: Any) -> Generator[None, None, str]:
    """Mirror left and right; returns what could not be named exactly, in sentences.

    Raises UnknownSegments: one that is not known would stay where it is.
    """
    ensureEngineOnPath()
    from SynthCTLib.mirror import mirror_left_right

    edit = yield from _edited(segmentationNode, lambda labels, _affine: (mirror_left_right(labels), EVERYWHERE), True)
    return " ".join((_("Mirrored."), *map(engineText, edit.notes)))


def putLesion(
    segmentationNode: Any, lesionId: int, millimeters: float, hostId: int | None, irregular: bool, seed: int
) -> Generator[None, None, str]:
    """Put a lesion into an organ (None: into any that this lesion lies in by nature); returns its size in words."""
    ensureEngineOnPath()
    from SynthCTLib.lesion import LesionEdit, put_lesion

    hosts = None if hostId is None else (hostId,)

    def put(labels: np.ndarray, affine: np.ndarray) -> tuple[LesionEdit, Box]:
        shape = "irregular" if irregular else "sphere"
        edit = put_lesion(labels, affine, lesionId, millimeters, host_ids=hosts, shape=shape, seed=seed)
        return edit, edit.box

    edit = yield from _edited(segmentationNode, put)
    lesion, organ = labelName(edit.lesion_id), labelName(edit.host)
    return _("{lesion}, {size:.0f} mm, in {organ}.").format(lesion=lesion, size=edit.diameter_mm, organ=organ)


def _edited(
    segmentationNode: Any, edit: Callable[[np.ndarray, np.ndarray], tuple[Any, Box]], complete: bool = False
) -> Generator[None, None, Any]:
    """Do an edit of the engine in steps; returns it when the segments are changed.

    edit: label ids (X, Y, Z) and affine (voxel → RAS mm) → an edit with ``labels``, and the box that it changes.
    complete: raise UnknownSegments where a segment with voxels is not in the label map.
    Raises ValueError without voxels, RuntimeError where the segmentation is changed meanwhile, what ``edit`` raises.
    """
    taken = snapshot(segmentationNode)
    voxels = taken.voxels  # the thread gets no node
    painted = yield from inBackground(voxels.painted)
    if complete:
        stopAtUnknown(painted, voxels.segments)
    labels, affine = labeled(painted, segmentationNode)

    def compute() -> tuple[Any, Any]:
        done, box = edit(labels, affine)
        return done, labelChange(voxels, painted, done.labels, box)

    done, change = yield from inBackground(compute)
    applyChange(taken, change)
    return done
