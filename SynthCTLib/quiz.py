"""A quiz on a case: find it, name it, measure it. The label map is the answer key.

No Qt and no sentences here: a widget shows :attr:`Quiz.current` in its user's language and hands over what the learner
did. NumPy and SciPy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from SynthCTLib.errors import InputError
from SynthCTLib.labels import BACKGROUND, load_vocabulary
from SynthCTLib.measures import UNITS, measure
from SynthCTLib.quiz_questions import Question
from SynthCTLib.slabs import count_ids

NO_LABEL = "a place without a label"
"""``Answer.given`` where no structure was hit."""


@dataclass(frozen=True)
class Answer:
    """What was answered and whether it was right.

    ``given`` and ``expected`` are words for the learner ("Spleen", "92 mm"); ``skipped``: no answer was given.
    ``distance_mm``: for ``find``, how far the point was from the structure.
    """

    question: Question
    correct: bool
    given: str
    expected: str
    distance_mm: float | None = None
    skipped: bool = False


class Quiz:
    """Questions one after the other, and the answers so far.

    Args:
        questions: in order. labels: (X, Y, Z) uint8, MAISI ids. affine: (4, 4), voxel index → RAS mm.

    Raises:
        InputError: there is no question, or one asks for a structure that is not in the label map.
    """

    def __init__(self, questions: Sequence[Question], labels: np.ndarray, affine: np.ndarray) -> None:
        if not questions:
            raise InputError("There is nothing to ask: the case has no questions and its label map no structures.")
        self.questions = tuple(questions)
        self.answers: list[Answer] = []
        self._labels, self._affine = labels, np.asarray(affine, float)
        self._to_index = np.linalg.inv(self._affine)
        present = set(np.flatnonzero(count_ids(labels)).tolist())
        for question in self.questions:
            if question.label not in present:
                raise InputError(f"{_name(question.label)} is not in the label map, so that it cannot be asked for.")

    @property
    def current(self) -> Question | None:
        """The question that waits for an answer; None at the end."""
        return self.questions[len(self.answers)] if len(self.answers) < len(self.questions) else None

    @property
    def score(self) -> tuple[int, int]:
        """Right answers, and questions answered or skipped so far."""
        return sum(answer.correct for answer in self.answers), len(self.answers)

    @property
    def missed(self) -> tuple[int, ...]:
        """Ids of the structures that were asked for and not known, in the order of asking."""
        return tuple(dict.fromkeys(answer.question.label for answer in self.answers if not answer.correct))

    def place(self, label: int) -> tuple[float, float, float]:
        """A point inside a structure, RAS mm, to which the views jump: its voxel nearest to its center of mass."""
        index = np.argwhere(self._labels == label)
        middle = index[np.linalg.norm((index - index.mean(axis=0)) @ self._affine[:3, :3].T, axis=1).argmin()]
        x, y, z = (self._affine @ [*middle, 1.0])[:3]
        return float(x), float(y), float(z)

    def answer_find(self, point_ras: Sequence[float]) -> Answer:
        """Answer with a clicked point, RAS mm: right in the structure, in a lesion of it, or within the tolerance."""
        question = self._expect("find")
        hit = self._label_at(point_ras)
        inside = hit == question.label or (hit != BACKGROUND and _host(hit) == question.label)
        distance = 0.0 if inside else self._distance(point_ras, question.label)
        correct = distance <= question.tolerance
        given = _name(hit) if hit != BACKGROUND else NO_LABEL
        if correct:
            return self._keep(question, True, _name(question.label), _name(question.label), distance_mm=distance)
        return self._keep(question, False, given, _name(question.label), distance_mm=distance)

    def answer_name(self, label: int) -> Answer:
        """Answer with the id of one of the choices."""
        question = self._expect("name")
        return self._keep(question, label == question.label, _name(label), _name(question.label))

    def answer_measure(self, value: float) -> Answer:
        """Answer with a number, in ml or mm as the question says."""
        question = self._expect("measure")
        assert question.what is not None
        true = measure(self._labels, self._affine, question.label, question.what)
        unit = UNITS[question.what]
        correct = bool(abs(value - true) <= question.tolerance * true)
        expected = f"{_rounded(true)} {unit} (± {question.tolerance:.0%})"
        return self._keep(question, correct, f"{_rounded(value)} {unit}", expected)

    def skip(self) -> Answer:
        """Go on without an answer; it counts as not known."""
        question = self._expect(None)
        expected = _name(question.label)
        if question.kind == "measure" and question.what is not None:
            true = measure(self._labels, self._affine, question.label, question.what)
            expected = f"{_rounded(true)} {UNITS[question.what]}"
        return self._keep(question, False, "", expected, skipped=True)

    def _expect(self, kind: str | None) -> Question:
        question = self.current
        if question is None:
            raise InputError("The quiz is over; start it again for another try.")
        if kind is not None and question.kind != kind:
            raise InputError(f"The question is of the kind '{question.kind}', not '{kind}'.")
        return question

    def _keep(self, question: Question, correct: bool, given: str, expected: str, **more: Any) -> Answer:
        answer = Answer(question, correct, given, expected, **more)
        self.answers.append(answer)
        return answer

    def _label_at(self, point_ras: Sequence[float]) -> int:
        index = np.round((self._to_index @ [*point_ras, 1.0])[:3]).astype(int)
        inside = bool((index >= 0).all() and (index < self._labels.shape).all())
        return int(self._labels[tuple(index)]) if inside else BACKGROUND

    def _distance(self, point_ras: Sequence[float], label: int) -> float:
        """mm from the point to the nearest voxel of a structure, less half a voxel: its center is not its edge."""
        centers = np.argwhere(self._labels == label) @ self._affine[:3, :3].T + self._affine[:3, 3]
        half = np.linalg.norm(self._affine[:3, :3], axis=0).min() / 2
        return max(0.0, float(np.linalg.norm(centers - np.asarray(point_ras, float), axis=1).min() - half))


def _host(label: int) -> int | None:
    known = load_vocabulary()
    return known.by_id(label).host if label in known.ids else None


def _name(label: int) -> str:
    known = load_vocabulary()
    return known.by_id(label).display_name if label in known.ids else f"label {label}"


def _rounded(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
