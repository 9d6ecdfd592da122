"""Does a case hold what it says? Its label map against its questions, view, region and pair, in sentences.

NumPy only, since it runs in 3D Slicer's own process.
"""

from __future__ import annotations

import numpy as np

from SynthCTLib.cases import Case
from SynthCTLib.errors import InputError
from SynthCTLib.labels import BACKGROUND, load_vocabulary
from SynthCTLib.regions import parse_region, region_from_labels
from SynthCTLib.slabs import count_ids


def case_problems(case: Case, labels: np.ndarray) -> list[str]:
    """Everything in a case that does not fit its label map (uint8 ids); an empty list when all does."""
    vocabulary = load_vocabulary()
    used = {label.id for label in vocabulary.labels if not label.dummy}
    present = {int(i) for i in np.flatnonzero(count_ids(labels)) if i != BACKGROUND}
    if not present:
        return ["The label map is empty."]
    problems = [f"The label map has the id {i}, which is no label." for i in sorted(present - used)]
    for number, question in enumerate(case.questions, start=1):
        unknown = {question["label"], *question.get("choices", ())} - used
        problems += [f"Question {number} names the id {i}, which is no label." for i in sorted(unknown)]
        if question["label"] not in present | unknown:
            name = vocabulary.by_id(question["label"]).display_name
            problems.append(f"Question {number} asks for {name}, which is not in the label map.")
        if "choices" in question and question["label"] not in question["choices"]:
            problems.append(f"The right answer of question {number} is not among its choices.")
    center = case.view.get("center_label")
    if center is not None and center not in present:
        problems.append(f"The view is centered on the id {center}, which is not in the label map.")
    if case.pair is not None and case.pair.lesion not in present:
        problems.append(f"The case is paired by the lesion {case.pair.lesion}, which is not in the label map.")
    return problems + _region_problems(case.region, present)


def _region_problems(text: str, present: set[int]) -> list[str]:
    try:
        region = parse_region(text)
    except InputError as error:
        return [str(error)]
    shown = region_from_labels(present)
    if shown is not None and shown != region:
        return [f"The region is {region}; the labels show {shown}."]
    return []
