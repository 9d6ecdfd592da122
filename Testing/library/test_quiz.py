"""The quiz: right and wrong answers on a body of boxes whose sizes are known, and on the bundled cases."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from SynthCTLib.cases import find_case
from SynthCTLib.errors import InputError, ResourceError
from SynthCTLib.label_file import read_label_file
from SynthCTLib.labels import BODY, load_vocabulary
from SynthCTLib.measures import measure
from SynthCTLib.quiz import Quiz
from SynthCTLib.quiz_export import safe_cells, write_quiz_csv
from SynthCTLib.quiz_questions import Question, automatic_questions, confusable, questions_of_case

LIVER, SPLEEN, RIGHT_KIDNEY, LEFT_KIDNEY, LIVER_TUMOR = 1, 3, 5, 14, 26
AFFINE = np.array([[2.0, 0, 0, -60], [0, 2.0, 0, -50], [0, 0, 3.0, 100], [0, 0, 0, 1]])


@pytest.fixture
def labels() -> np.ndarray:
    """Body, liver with a tumor, kidneys: boxes on a grid of 2 × 2 × 3 mm."""
    array = np.zeros((60, 50, 40), np.uint8)
    array[2:58, 2:48] = BODY
    array[35:55, 10:40, 20:35] = LIVER
    array[40:45, 20:25, 25:28] = LIVER_TUMOR
    array[35:40, 5:10, 5:15] = RIGHT_KIDNEY
    array[20:25, 5:10, 5:15] = LEFT_KIDNEY
    return array


def at(*index: float) -> tuple[float, ...]:
    """RAS mm of a voxel index."""
    return tuple((AFFINE @ [*index, 1.0])[:3])


def test_a_click_in_the_structure_is_right(labels: np.ndarray) -> None:
    answer = Quiz([Question("find", LIVER)], labels, AFFINE).answer_find(at(50, 30, 30))
    assert answer.correct and answer.distance_mm == 0 and answer.given == "Liver"


def test_a_click_in_a_lesion_of_the_organ_is_in_the_organ(labels: np.ndarray) -> None:
    assert Quiz([Question("find", LIVER)], labels, AFFINE).answer_find(at(42, 22, 26)).correct


def test_a_click_beside_the_structure_counts_within_the_tolerance(labels: np.ndarray) -> None:
    beside = at(41, 7, 10)  # two voxels of 2 mm beyond the last one: 3 mm beyond its edge
    near = Quiz([Question("find", RIGHT_KIDNEY, tolerance=3.5)], labels, AFFINE).answer_find(beside)
    far = Quiz([Question("find", RIGHT_KIDNEY, tolerance=2.5)], labels, AFFINE).answer_find(beside)
    assert near.correct and not far.correct
    assert far.distance_mm == pytest.approx(3.0)


def test_a_wrong_click_says_what_was_hit(labels: np.ndarray) -> None:
    answer = Quiz([Question("find", RIGHT_KIDNEY)], labels, AFFINE).answer_find(at(22, 7, 10))
    assert not answer.correct and answer.given == "Left kidney" and answer.expected == "Right kidney"


def test_a_click_outside_of_the_image_is_wrong_and_no_failure(labels: np.ndarray) -> None:
    assert not Quiz([Question("find", LIVER)], labels, AFFINE).answer_find((9999, 0, 0)).correct


def test_a_measure_is_accepted_within_its_tolerance_only(labels: np.ndarray) -> None:
    true = 5 * 5 * 10 * 12 / 1000  # ml
    for value, correct in ((true, True), (1.09 * true, True), (1.11 * true, False), (0.89 * true, False)):
        quiz = Quiz([Question("measure", LEFT_KIDNEY, what="volume_ml", tolerance=0.1)], labels, AFFINE)
        assert quiz.answer_measure(value).correct is correct


def test_measures_of_a_box_are_its_sides(labels: np.ndarray) -> None:
    array = np.zeros((40, 40, 40), np.uint8)
    array[5:25, 10, 10] = LIVER
    assert measure(array, AFFINE, LIVER, "extent_mm") == pytest.approx(40)
    assert measure(array, AFFINE, LIVER, "diameter_mm") == pytest.approx(40)
    array[5:25, 10, 10] = 0
    array[7, 8, 3:23] = LIVER
    assert measure(array, AFFINE, LIVER, "extent_mm") == pytest.approx(60)
    assert measure(array, AFFINE, LIVER, "diameter_mm") == pytest.approx(2)
    with pytest.raises(InputError, match="Spleen is not in the label map"):
        measure(array, AFFINE, SPLEEN, "extent_mm")


def test_measures_of_a_ball_come_near_its_diameter_and_volume() -> None:
    x, y, z = np.ogrid[:60, :60, :60]
    ball = (((x - 30) ** 2 + (y - 30) ** 2 + (z - 30) ** 2) <= 20**2).astype(np.uint8)
    assert measure(ball, np.eye(4), 1, "extent_mm") == pytest.approx(41, abs=0.5)
    assert measure(ball, np.eye(4), 1, "diameter_mm") == pytest.approx(41, abs=0.5)
    assert measure(ball, np.eye(4), 1, "volume_ml") == pytest.approx(33.5, rel=0.01)


def test_score_and_missed_structures_follow_the_answers(labels: np.ndarray) -> None:
    questions = [Question("find", LIVER), Question("name", LEFT_KIDNEY, (LEFT_KIDNEY, RIGHT_KIDNEY))]
    quiz = Quiz([*questions, Question("find", RIGHT_KIDNEY)], labels, AFFINE)
    quiz.answer_find(at(50, 30, 30))
    assert not quiz.answer_name(RIGHT_KIDNEY).correct
    assert quiz.skip().skipped
    assert quiz.score == (1, 3) and quiz.missed == (LEFT_KIDNEY, RIGHT_KIDNEY) and quiz.current is None
    with pytest.raises(InputError, match="over"):
        quiz.skip()


LEFT_KIDNEY = LEFT_KIDNEY


def test_answers_of_another_kind_are_refused(labels: np.ndarray) -> None:
    with pytest.raises(InputError, match="kind 'find'"):
        Quiz([Question("find", LIVER)], labels, AFFINE).answer_measure(3)


def test_a_quiz_about_an_absent_structure_or_about_nothing_is_refused(labels: np.ndarray) -> None:
    with pytest.raises(InputError, match="Spleen is not in the label map"):
        Quiz([Question("find", SPLEEN)], labels, AFFINE)
    with pytest.raises(InputError, match="nothing to ask"):
        Quiz([], labels, AFFINE)


def test_the_views_jump_into_the_structure(labels: np.ndarray) -> None:
    quiz = Quiz([Question("find", LIVER)], labels, AFFINE)
    for label in (LIVER, LIVER_TUMOR, LEFT_KIDNEY):
        index = np.round(np.linalg.inv(AFFINE) @ [*quiz.place(label), 1])[:3].astype(int)
        assert labels[tuple(index)] == label


def test_automatic_questions_are_the_same_for_the_same_seed(labels: np.ndarray) -> None:
    first = automatic_questions(labels, AFFINE, 4, seed=5)
    assert first == automatic_questions(labels, AFFINE, 4, seed=5)
    assert any(first != automatic_questions(labels, AFFINE, 4, seed=other) for other in range(5))
    assert len({question.label for question in first}) == 4
    assert {question.kind for question in first} == {"find", "name"}
    assert BODY not in {question.label for question in first}


def test_wrong_choices_are_the_other_side_and_the_neighbors() -> None:
    case = find_case("totalseg_s0327_chest")
    labels, affine = read_label_file(case.path)
    ids = [label.id for label in load_vocabulary().labels if (labels == label.id).any()]
    names = load_vocabulary()
    centers = {i: (affine @ [*np.argwhere(labels == i).mean(axis=0), 1])[:3] for i in ids}
    rib = names.find("left rib 7").id
    assert {names.by_id(i).display_name for i in confusable(rib, centers, 3)} == {
        "Right rib 7", "Left rib 6", "Left rib 8",
    }  # fmt: skip
    heart = confusable(names.find("heart").id, centers, 3)
    assert all(np.linalg.norm(centers[i] - centers[115]) < 100 for i in heart)


def test_choices_hold_the_right_answer_once_even_with_few_structures() -> None:
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[5:15, 5:15, 5:15] = SPLEEN
    (question,) = automatic_questions(labels, AFFINE, 3, kinds=("name",))
    assert question.choices.count(SPLEEN) == 1 and len(set(question.choices)) == len(question.choices)


def test_questions_of_a_case_keep_their_own_choices_and_get_missing_ones() -> None:
    case = find_case("totalseg_s0327_chest")
    labels, affine = read_label_file(case.path)
    questions = questions_of_case(case.questions, labels, affine, seed=3)
    assert [question.label for question in questions] == [entry["label"] for entry in case.questions]
    for question, entry in zip(questions, case.questions, strict=True):
        if question.kind == "name":
            assert question.label in question.choices and len(set(question.choices)) == 4
            assert "choices" not in entry or set(question.choices) == set(entry["choices"])


def test_the_csv_has_every_answer_and_the_score(labels: np.ndarray, tmp_path: Path) -> None:
    quiz = Quiz(
        [Question("find", LIVER), Question("measure", LEFT_KIDNEY, what="volume_ml", tolerance=0.1)], labels, AFFINE
    )
    quiz.answer_find(at(50, 30, 30))
    quiz.answer_measure(-4)
    path = tmp_path / "Größe.csv"
    write_quiz_csv(path, quiz, "=cmd|' /C calc'!A0", "Jörg")
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [row["result"] for row in rows] == ["right", "wrong", ""]
    assert rows[0]["structure"] == "Liver" and rows[-1]["answer"] == "1 of 2" and rows[0]["student"] == "Jörg"
    assert all(not cell.startswith(("=", "-", "+", "@")) for row in rows for cell in row.values())
    assert list(tmp_path.iterdir()) == [path]


def test_a_csv_that_cannot_be_written_leaves_nothing_behind(labels: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="cannot be written"):
        write_quiz_csv(tmp_path / "no" / "where.csv", Quiz([Question("find", LIVER)], labels, AFFINE), "x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "  =1"])
def test_no_cell_can_be_a_formula(cell: str) -> None:
    assert safe_cells([cell]) == ["'" + cell]


def test_ordinary_cells_stay_as_they_are() -> None:
    assert safe_cells(["Liver", "92 mm", "", "± 15%"]) == ["Liver", "92 mm", "", "± 15%"]
