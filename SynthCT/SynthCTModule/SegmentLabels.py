"""Which MAISI label each segment of a segmentation is, and giving a segment its label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import slicer
import vtk

from SynthCTModule.EngineText import findingText
from SynthCTModule.LabelColors import labelColor, terminologyEntry, vocabulary

ID_TAG = "SynthCT.LabelId"
"""As SynthCTLib.segment_identity: it stays with the segment when that is renamed or saved."""


@dataclass(frozen=True)
class ResolvedSegment:
    """``labelId`` and its ``source`` (tag, terminology, name), or None and a ``problem``.

    ``problem`` names the segment in a sentence; with a label it is a warning. ``code`` tells its kind (as the engine's
    findings), ``candidates`` are labels that may be meant, the likeliest first.
    """

    segmentId: str
    name: str
    labelId: int | None
    source: str | None
    problem: str = ""
    code: str = ""
    candidates: tuple[int, ...] = ()


class UnknownSegments(RuntimeError):
    """Segments with voxels whose label is not known for certain; ``segments`` are these."""

    def __init__(self, segments: list[ResolvedSegment]) -> None:
        self.segments = segments
        super().__init__("\n".join(segment.problem for segment in segments))


def resolveSegments(segmentationNode: Any) -> list[ResolvedSegment]:
    """The label of each segment, in the order of the segmentation. Never guesses: see SynthCTLib.segment_identity."""
    segmentation = segmentationNode.GetSegmentation()
    return [_resolve(segmentId, segmentation.GetSegment(segmentId)) for segmentId in segmentation.GetSegmentIDs()]


def setSegmentLabel(segmentationNode: Any, segmentId: str, labelId: int) -> None:
    """Make a segment the label: tag, name, color and terminology. Raises KeyError when there is no such segment."""
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    if segment is None:
        raise KeyError(segmentId)
    segment.SetName(vocabulary().by_id(labelId).display_name)
    segment.SetColor(*labelColor(labelId))
    segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), terminologyEntry(labelId))
    segment.SetTag(ID_TAG, str(labelId))


def segmentTag(segment: Any, name: str) -> str:
    """The value of a segment's tag, empty when it has none."""
    value = vtk.reference("")
    return str(value) if segment.GetTag(name, value) else ""


def resolveColors(colorNode: Any, values: list[int]) -> list[ResolvedSegment]:
    """The label of each number of a label map, by the names and terminologies of its color table.

    ``segmentId`` is the number as text.
    """
    return [_color(colorNode, value) for value in values]


def _color(colorNode: Any, value: int) -> ResolvedSegment:
    known = value < colorNode.GetNumberOfColors() and colorNode.GetColorDefined(value)
    name = (colorNode.GetColorName(value) or "") if known else ""
    terminology = colorNode.GetTerminologyAsString(value) if known else ""
    return _resolved(str(value), name or f"label {value}", "", terminology)


def _resolve(segmentId: str, segment: Any) -> ResolvedSegment:
    terminology = segmentTag(segment, slicer.vtkSegment.GetTerminologyEntryTagName())
    return _resolved(segmentId, segment.GetName() or segmentId, segmentTag(segment, ID_TAG), terminology)


def _resolved(segmentId: str, name: str, tag: str, terminology: str) -> ResolvedSegment:
    labels = vocabulary()
    from SynthCTLib.segment_identity import identify_segment

    identity = identify_segment(name, tag, terminology, labels)
    return ResolvedSegment(
        segmentId,
        name,
        identity.label.id if identity.label else None,
        identity.source,
        findingText(identity.finding.to_json()) if identity.finding else "",
        identity.finding.code if identity.finding else "",
        identity.candidates,
    )
