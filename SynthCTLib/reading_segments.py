"""Segments of a Slicer segmentation → labels: own tag, then terminology, then name. Their numbers mean nothing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from SynthCTLib.compose import Composer
from SynthCTLib.errors import InputError
from SynthCTLib.findings import Finding
from SynthCTLib.labels import Code, Label, Vocabulary
from SynthCTLib.reading_nrrd import Layers, Segment
from SynthCTLib.slabs import count_ids
from SynthCTLib.volume import Volume

ID_TAG = "SynthCT.LabelId"
TERMINOLOGY_TAG = "TerminologyEntry"


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
        try:
            label = _label(segment, vocabulary, notes)
        except InputError as error:
            problems.append(str(error).rstrip("."))
            continue
        if label.dummy:
            problems.append(f"'{segment.name}' carries id {label.id}, which MAISI reserves and never uses")
        ids.append(label.id)
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


def _label(segment: Segment, vocabulary: Vocabulary, notes: list[Finding]) -> Label:
    """The label of one segment. Raises InputError when nothing about it is known."""
    tag = segment.tags.get(ID_TAG, "")
    if tag.isdecimal():
        return vocabulary.by_id(int(tag))
    coded = _coded(segment.tags.get(TERMINOLOGY_TAG, ""), vocabulary)
    if coded is None:
        return vocabulary.find(segment.name)
    try:
        named = vocabulary.find(segment.name)
    except InputError:
        return coded
    if named.id != coded.id:
        text = f"The segment '{segment.name}' has the terminology of {coded.display_name}, and was read as that."
        notes.append(
            Finding("warning", "name-and-terminology", text, "Correct its terminology in Slicer if the name is right.")
        )
    return coded


def _coded(entry: str, vocabulary: Vocabulary) -> Label | None:
    """The label of Slicer's terminology entry ``context~category~type~modifier~…``, each ``scheme^value^meaning``."""
    parts = entry.split("~")
    if len(parts) < 3:
        return None
    category, type_, modifier = (_code(part) for part in (*parts[1:4], "")[:3])
    if category is None or type_ is None:
        return None
    return vocabulary.find_terminology(category, type_, modifier)


def _code(text: str) -> Code | None:
    scheme, _, rest = text.partition("^")
    value, _, meaning = rest.partition("^")
    return Code(scheme, value, meaning) if scheme and value else None
