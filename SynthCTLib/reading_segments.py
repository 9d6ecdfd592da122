"""Segments of a Slicer segmentation → labels, by what they are called. Their numbers mean nothing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from SynthCTLib.compose import Composer
from SynthCTLib.errors import InputError
from SynthCTLib.findings import Finding
from SynthCTLib.labels import Vocabulary
from SynthCTLib.reading_nrrd import Layers, Segment
from SynthCTLib.segment_identity import ID_TAG, TERMINOLOGY_TAG, identify_segment
from SynthCTLib.slabs import count_ids
from SynthCTLib.volume import Volume


def compose_segments(
    layers: Layers, name: str, vocabulary: Vocabulary, names: Mapping[str, int] | None
) -> tuple[Volume, list[Finding]]:
    """One label map of MAISI ids from the layers of a segmentation, and what was noticed.

    ``names`` is the user's map from segment names to ids and comes first. Empty segments are left out. Raises
    InputError that lists every segment whose label is not known.
    """
    counts = [count_ids(array) for array in layers.arrays]
    filled = [s for s in layers.segments if 0 < s.value < len(counts[s.layer]) and counts[s.layer][s.value]]
    ids, notes = _resolve(filled, name, vocabulary, names)
    skipped = [segment.name for segment in layers.segments if segment not in filled]
    if skipped:
        notes.append(Finding("info", "empty-segment", f"Segments without voxels were left out: {', '.join(skipped)}."))
    composer = Composer(layers.arrays[0].shape, vocabulary)
    for number, array in enumerate(layers.arrays):
        lookup = np.zeros(len(counts[number]), dtype=np.uint8)
        for segment, label in zip(filled, ids, strict=True):
            if segment.layer == number:
                lookup[segment.value] = label
        composer.add(partial(_layer_ids, array, lookup))
    return Volume(composer.array, layers.affine), notes + composer.overlaps()


def _layer_ids(array: np.ndarray, lookup: np.ndarray, part: slice) -> np.ndarray:
    return lookup[array[:, :, part]]


def _resolve(
    segments: list[Segment], name: str, vocabulary: Vocabulary, names: Mapping[str, int] | None
) -> tuple[list[int], list[Finding]]:
    """MAISI id of each segment, with notes where name and terminology disagree or several segments share a label."""
    ids: list[int] = []
    notes: list[Finding] = []
    problems: list[str] = []
    for segment in segments:
        if names is not None and segment.name in names:
            ids.append(names[segment.name])
            continue
        tag, terminology = segment.tags.get(ID_TAG, ""), segment.tags.get(TERMINOLOGY_TAG, "")
        identity = identify_segment(segment.name, tag, terminology, vocabulary)
        if identity.label is None:
            problems.append(identity.finding.message.rstrip(".") if identity.finding else segment.name)
            continue
        ids.append(identity.label.id)
        if identity.finding is not None:
            notes.append(identity.finding)
    if problems:
        more = f" (and {len(problems) - 4} more)" if len(problems) > 4 else ""
        raise InputError(
            f"{name} holds unknown segments{more}: {'; '.join(problems[:4])}. Rename them in Slicer, or give a JSON "
            "map that names a label (or null to leave it out) for each."
        )
    shared = sorted({i for i in ids if i and ids.count(i) > 1})
    for label_id in shared:
        same = [segment.name for segment, i in zip(segments, ids, strict=True) if i == label_id]
        text = f"The segments {', '.join(same)} were joined as {vocabulary.by_id(label_id).display_name}."
        notes.append(Finding("info", "segments-joined", text, labels=(label_id,)))
    return ids, notes
