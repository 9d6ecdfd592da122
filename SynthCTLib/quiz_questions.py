"""Questions of a quiz: those of a case, or made from the structures of a label map; and wrong answers that confuse.

NumPy only, since it runs in 3D Slicer's own process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np

from SynthCTLib.crop import label_boxes
from SynthCTLib.labels import BODY, Label, load_vocabulary
from SynthCTLib.measures import Measure
from SynthCTLib.mirror import other_side
from SynthCTLib.slabs import count_ids

Kind = Literal["find", "name", "measure"]

CHOICES = 4
FIND_TOLERANCE_MM = 3.0
"""How far from a structure a click may be: about a voxel of the models, and what a hand misses by."""

_LEAST_VOXELS = 30
_WHOLE_AND_PART = ({97, 127}, {57, 132}, {1, 25})
"""Sacrum and S1, airways and trachea, liver and its vessels: either name would be right for some voxels."""


@dataclass(frozen=True)
class Question:
    """One question about the structure ``label``.

    ``choices``: ids to choose from, for ``name``. ``what``: see :mod:`SynthCTLib.measures`, for ``measure``.
    ``tolerance``: for ``measure`` the accepted deviation as a part of the true value, for ``find`` mm.
    """

    kind: Kind
    label: int
    choices: tuple[int, ...] = ()
    what: Measure | None = None
    tolerance: float = 0.0
    hint: str = ""
    explanation: str = ""


def questions_of_case(
    entries: Iterable[Mapping[str, Any]], labels: np.ndarray, affine: np.ndarray, seed: int = 0
) -> list[Question]:
    """The questions of a ``case.json`` in their order, with choices where it gives none.

    Args:
        entries: as ``case.schema.json`` says. labels: (X, Y, Z) uint8. affine: (4, 4), voxel index → RAS mm.
        seed: decides on the order of the choices, and on the wrong ones where they are free.
    """
    centers = _centers(labels, affine)
    random = np.random.default_rng(seed)
    return [_question(entry, centers, random) for entry in entries]


def automatic_questions(
    labels: np.ndarray, affine: np.ndarray, count: int = 10, seed: int = 0, kinds: Sequence[Kind] = ("find", "name")
) -> list[Question]:
    """Up to ``count`` questions about structures of the map, each about another one, kinds in turn.

    Same seed, same questions. Pieces of fewer than 30 voxels and the body are not asked for.
    """
    centers = _centers(labels, affine)
    random = np.random.default_rng(seed)
    large = [i for i, voxels in enumerate(count_ids(labels)) if voxels >= _LEAST_VOXELS and i in centers]
    chosen = random.permutation(large)[:count].tolist()
    return [
        _question({"kind": kinds[n % len(kinds)], "label": label, "what": "extent_mm"}, centers, random)
        for n, label in enumerate(chosen)
    ]


def confusable(label: int, centers: Mapping[int, np.ndarray], count: int) -> list[int]:
    """Up to ``count`` ids that a learner may take for ``label``, the most confusable first.

    First the same structure on the other side, then structures of the same organ system and those nearby, nearest
    first and in turn. Structures of the image come before others of the same system.
    """
    vocabulary = load_vocabulary()
    system = vocabulary.by_id(label).group
    near = sorted((i for i in centers if i != label), key=lambda i: (_distance(centers, label, i), i))
    alike = [i for i in near if vocabulary.by_id(i).group == system]
    others = [i for i in near if vocabulary.by_id(i).group != system]
    mixed = [i for pair in _in_turn(alike, others) for i in pair]
    absent = [one.id for one in vocabulary.labels if _may_stand_in(one, system) and one.id not in (*centers, label)]
    absent.sort(key=lambda i: (abs(i - label), i))
    opposite = other_side(label)
    ranked = dict.fromkeys([*([opposite] if opposite is not None else []), *mixed, *absent])
    return [i for i in ranked if {i, label} not in _WHOLE_AND_PART][:count]


def _question(entry: Mapping[str, Any], centers: Mapping[int, np.ndarray], random: np.random.Generator) -> Question:
    kind, label = cast(Kind, entry["kind"]), int(entry["label"])
    choices: Sequence[int] = ()
    if kind == "name":
        choices = entry.get("choices") or [label, *confusable(label, centers, CHOICES - 1)]
        choices = random.permutation(choices).tolist()
    default = FIND_TOLERANCE_MM if kind == "find" else 0.2
    return Question(
        kind=kind,
        label=label,
        choices=tuple(choices),
        what=entry["what"] if kind == "measure" else None,
        tolerance=float(entry.get("tolerance", default)),
        hint=entry.get("hint", ""),
        explanation=entry.get("explanation", ""),
    )


def _centers(labels: np.ndarray, affine: np.ndarray) -> dict[int, np.ndarray]:
    """Middle of the box around each structure, RAS mm; near enough to tell neighbors, and quick."""
    known = {label.id for label in load_vocabulary().labels if not label.dummy and label.id != BODY}
    return {
        label: (affine @ [*((part.start + part.stop - 1) / 2 for part in box), 1.0])[:3]
        for label, box in label_boxes(labels).items()
        if label in known
    }


def _distance(centers: Mapping[int, np.ndarray], first: int, second: int) -> float:
    return float(np.linalg.norm(centers[first] - centers[second])) if first in centers else 0.0


def _in_turn(first: Sequence[int], second: Sequence[int]) -> Iterable[tuple[int, ...]]:
    """Two of the first, one of the second, and so on: the same system confuses more than mere nearness."""
    for n in range(max(len(first) // 2 + 1, len(second))):
        yield (*first[2 * n : 2 * n + 2], *second[n : n + 1])


def _may_stand_in(label: Label, system: str) -> bool:
    return label.group == system and not label.dummy and label.id != BODY
