"""What is wrong with a segmentation, in words, and how it can be put right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from SynthCTModule.EngineText import findingText
from SynthCTModule.LabelColors import vocabulary
from SynthCTModule.SegmentationExchange import composeSegmentation, readLabelmap
from SynthCTModule.SegmentLabels import ResolvedSegment, resolveSegments, setSegmentLabel
from SynthCTModule.Translation import _
from SynthCTModule.VoxelGrid import fillImage, matrixFromArray, worldMatrix

SET_LABEL = "set-label"
"""Give the segments the label that the user chooses, or the first of ``choices``."""
RENAME = "rename"
"""Give the segments the names, colors and terminology of the labels that they are."""
DROP = "drop-segments"
ADD_BODY = "add-body"
RESAMPLE = "resample"
"""Put the segmentation on the model's grid, as a new node."""

_BODY = 200
_ENGINE_FIXES = {"add-body": ADD_BODY, "drop-labels": DROP, "resample": RESAMPLE}


@dataclass(frozen=True)
class Problem:
    """One row of the check.

    ``severity``: error (nothing can be made), warning, info. ``fix``: one of the constants above, or None. ``choices``:
    label ids to choose from where the fix is :data:`SET_LABEL`, the likeliest first; empty: any label.
    """

    severity: str
    text: str
    segmentIds: tuple[str, ...] = ()
    fix: str | None = None
    choices: tuple[int, ...] = ()
    code: str = ""

    @staticmethod
    def fromFinding(finding: Any, node: Any = None) -> Problem:
        """A finding of the engine (SynthCTLib Finding, or the fields of a ``finding`` event) as row of the check."""
        fields = finding if isinstance(finding, Mapping) else finding.to_json()
        labels = set(fields.get("labels") or ())
        ids = [s.segmentId for s in resolveSegments(node) if s.labelId in labels] if node is not None else []
        fix = _ENGINE_FIXES.get(fields.get("fix") or "")
        return Problem(fields["severity"], findingText(fields), tuple(ids), fix, code=fields.get("code", ""))


def checkSegmentation(node: Any) -> list[Problem]:
    """All problems of a segmentation node that can be seen without a model, errors first."""
    composed, segments = composeSegmentation(node)
    filled = [segment for segment in segments if composed.filled.get(segment.segmentId)]
    problems = [_labelProblem(segment) for segment in filled if segment.problem]
    problems += [Problem.fromFinding(finding, node) for finding in composed.findings]
    if not filled:
        problems.append(Problem("error", _("There is nothing yet; draw or load something first."), code="empty"))
    problems += [_emptyProblem(segment) for segment in segments if segment not in filled]
    if filled and _BODY not in composed.voxels:
        text = _("There is no body envelope; it is estimated for the CT. Add it now to see and edit it.")
        problems.append(Problem("info", text, fix=ADD_BODY, code="no-body"))
    problems += _foreignNames(filled)
    order = {"error": 0, "warning": 1, "info": 2}
    return sorted(problems, key=lambda problem: order[problem.severity])


def applyFix(problem: Problem, node: Any, labelId: int | None = None) -> None:
    """Put a problem right in ``node``; labelId: for :data:`SET_LABEL`, what the user has chosen.

    Raises ValueError when there is no fix that needs neither the engine nor a hand, or no label is chosen. What the
    engine makes for :data:`ADD_BODY` and :data:`RESAMPLE` is taken in by BodyEnvelope.
    """
    change = _change(problem, node, labelId)
    for segmentId in problem.segmentIds:
        change(segmentId)


def addBody(node: Any, mask: Path) -> str:
    """Add the body envelope of a prepared mask as a segment, in place of an earlier one; returns the segment's id.

    Raises ValueError when the mask has none, or the segmentation is under a warping transform.
    """
    array, affine = readLabelmap(mask)
    world = worldMatrix(node)
    if world is None:
        raise ValueError(_("The segmentation is under a warping transform; harden it first."))
    if not (array == _BODY).any():
        raise ValueError(_("The prepared mask has no body envelope."))
    for segment in resolveSegments(node):
        if segment.labelId == _BODY:
            node.GetSegmentation().RemoveSegment(segment.segmentId)
    image = slicer.vtkOrientedImageData()
    fillImage(image, (array == _BODY).astype(np.uint8))
    image.SetImageToWorldMatrix(matrixFromArray(np.linalg.inv(world) @ affine))
    name = vocabulary().by_id(_BODY).name
    segmentId = node.AddSegmentFromBinaryLabelmapRepresentation(image, name, [1.0, 1.0, 1.0], name)
    setSegmentLabel(node, segmentId, _BODY)
    return str(segmentId)


def _change(problem: Problem, node: Any, labelId: int | None) -> Callable[[str], None]:
    if problem.fix == DROP:
        return node.GetSegmentation().RemoveSegment
    if problem.fix == RENAME:
        labels = {s.segmentId: s.labelId for s in resolveSegments(node) if s.labelId is not None}
        return lambda segmentId: setSegmentLabel(node, segmentId, labels[segmentId])
    if problem.fix == SET_LABEL:
        chosen = labelId if labelId is not None else next(iter(problem.choices), None)
        if chosen is None:
            raise ValueError(_("Choose a label first."))
        return lambda segmentId: setSegmentLabel(node, segmentId, chosen)
    raise ValueError(_("This problem has to be put right by hand: {text}").format(text=problem.text))


def _labelProblem(segment: ResolvedSegment) -> Problem:
    severity = "error" if segment.labelId is None else "warning"
    return Problem(severity, segment.problem, (segment.segmentId,), SET_LABEL, segment.candidates, segment.code)


def _emptyProblem(segment: ResolvedSegment) -> Problem:
    text = _("The segment '{name}' is empty.").format(name=segment.name)
    return Problem("info", text, (segment.segmentId,), DROP, code="empty-segment")


def _foreignNames(segments: list[ResolvedSegment]) -> list[Problem]:
    """Segments that are known, yet not called or marked as SynthCT does: those of TotalSegmentator, for example."""
    foreign = [s for s in segments if s.labelId is not None and s.source != "tag" and not s.problem]
    if not foreign:
        return []
    names = {label.totalsegmentator_name for label in vocabulary().labels}
    known = [s for s in foreign if s.name in names]
    text = _("{count} segments are known by name or terminology ({origin}); they can get SynthCT's names and colors.")
    origin = _("TotalSegmentator") if 2 * len(known) > len(foreign) else foreign[0].name
    ids = tuple(segment.segmentId for segment in foreign)
    return [Problem("info", text.format(count=len(foreign), origin=origin), ids, RENAME, code="foreign-names")]
