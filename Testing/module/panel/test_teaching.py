"""Student mode, quiz, pairs and case files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from Testing.module.bench.fake_worker import FakeFamily


@pytest.fixture
def lesion(ui: Any, node: Any) -> Any:
    """The case with a lung tumor, loaded."""
    from SynthCTLib.cases import find_case

    ui.caseComboBox.setCurrentIndex(ui.caseComboBox.findText(find_case("totalseg_s0327_lung_tumor").title))
    ui.loadCaseButton.click()
    return node.inputNode


def start_quiz(ui: Any, kind: str, count: int = 3) -> None:
    """Start a quiz of one kind."""
    ui.quizComboBox.setCurrentIndex(ui.quizComboBox.findData(kind))
    ui.quizCountSpinBox.value = count
    ui.startQuizButton.click()


def question(widget: Any) -> Any:
    """What is asked now, with the answer that the panel does not show."""
    from SynthCTModule.panels.QuizPanel import QuizPanel

    return next(panel for panel in widget.panels if isinstance(panel, QuizPanel))._quiz.current


def choices(ui: Any) -> list[Any]:
    """The buttons with names."""
    layout = ui.quizChoicesWidget.layout()
    return [layout.itemAt(number).widget() for number in range(layout.count())]


def click_in_the_views(point: tuple[float, float, float]) -> None:
    """What Slicer does when the user places the point that is waited for."""
    import slicer

    scene = slicer.mrmlScene
    last = scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") - 1
    scene.GetNthNodeByClass(last, "vtkMRMLMarkupsFiducialNode").AddControlPointWorld(*point)


def test_student_mode_hides_overlay_and_organ_names_and_brings_them_back(
    chest: Any, ui: Any, family: FakeFamily
) -> None:
    ui.generateButton.click()
    family.finish()
    assert ui.organTable.visible
    ui.studentModeCheckBox.checked = True
    assert not chest.GetDisplayNode().GetVisibility()
    assert not ui.organTable.visible
    ui.studentModeCheckBox.checked = False
    assert chest.GetDisplayNode().GetVisibility()
    assert ui.organTable.visible


def test_a_ct_made_in_student_mode_comes_without_overlay(chest: Any, ui: Any, family: FakeFamily) -> None:
    from SynthCTModule.ResultNodes import results

    ui.studentModeCheckBox.checked = True
    ui.generateButton.click()
    family.finish()
    assert not results()[0].mask.GetDisplayNode().GetVisibility()


def test_find_it_is_answered_with_a_click_and_the_mask_is_the_key(chest: Any, ui: Any, widget: Any) -> None:
    from SynthCTModule.panels.QuizPanel import QuizPanel

    start_quiz(ui, "find")
    assert ui.quizQuestionLabel.text.startswith("Click the structure: ")
    quiz = next(panel for panel in widget.panels if isinstance(panel, QuizPanel))._quiz
    click_in_the_views(quiz.place(question(widget).label))
    assert ui.quizFeedbackLabel.text.startswith("Right: ")
    assert ui.quizScoreLabel.text.startswith("1 right of 1")
    ui.quizNextButton.click()
    click_in_the_views((1000.0, 1000.0, 1000.0))
    assert "Not quite: " in ui.quizFeedbackLabel.text
    assert ui.quizScoreLabel.text.startswith("1 right of 2")


def test_name_it_offers_confusable_names_and_marks_the_structure_alone(chest: Any, ui: Any, widget: Any) -> None:
    from SynthCTModule.LabelColors import vocabulary
    from SynthCTModule.SegmentLabels import resolveSegments

    ui.studentModeCheckBox.checked = True
    start_quiz(ui, "name")
    name = vocabulary().by_id(question(widget).label).display_name
    shown = [
        segment.name
        for segment in resolveSegments(chest)
        if chest.GetDisplayNode().GetSegmentVisibility(segment.segmentId)
    ]
    assert shown == [name]
    assert chest.GetDisplayNode().GetVisibility()
    buttons = choices(ui)
    assert len(buttons) == 4
    next(button for button in buttons if button.text == name).click()
    assert ui.quizFeedbackLabel.text.startswith(f"Right: {name}")


def test_after_a_quiz_the_overlay_is_as_before(chest: Any, ui: Any, widget: Any) -> None:
    ui.studentModeCheckBox.checked = True
    start_quiz(ui, "name", 1)
    ui.quizNextButton.click()
    ui.quizNextButton.click()
    assert ui.quizQuestionLabel.text.startswith("Done. Look again at: ")
    assert not chest.GetDisplayNode().GetVisibility()


def test_measure_it_takes_the_length_of_a_ruler(chest: Any, ui: Any, widget: Any) -> None:
    import slicer

    from SynthCTLib.measures import measure
    from SynthCTModule.panels.QuizPanel import QuizPanel

    start_quiz(ui, "measure", 1)
    quiz = next(panel for panel in widget.panels if isinstance(panel, QuizPanel))._quiz
    asked = question(widget)
    true = measure(quiz._labels, quiz._affine, asked.label, asked.what)
    ui.quizRulerButton.click()
    line = slicer.mrmlScene.GetNthNodeByClass(0, "vtkMRMLMarkupsLineNode")
    line.AddControlPointWorld(0, 0, 0)
    line.AddControlPointWorld(true, 0, 0)
    assert ui.quizAnswerSpinBox.value == pytest.approx(true, abs=0.1)
    ui.quizAnswerButton.click()
    assert ui.quizFeedbackLabel.text.startswith("Right: ")


def test_the_questions_of_a_case_are_asked_in_its_order(lesion: Any, ui: Any, widget: Any) -> None:
    from SynthCTModule.Cases import caseOf

    start_quiz(ui, "case")
    first = caseOf(lesion).questions[0]
    assert (question(widget).kind, question(widget).label) == (first["kind"], first["label"])


def test_the_score_is_saved_as_csv(
    chest: Any, ui: Any, widget: Any, tmp_path: Path, answer: Callable[..., None]
) -> None:
    start_quiz(ui, "find", 2)
    ui.quizNextButton.click()
    answer(tmp_path / "score.csv")
    ui.saveScoreButton.click()
    text = (tmp_path / "score.csv").read_text(encoding="utf-8-sig")
    assert "skipped" in text and "0 of 1" in text


def test_leaving_the_module_ends_the_quiz_and_removes_its_marks(chest: Any, ui: Any, widget: Any) -> None:
    import slicer

    start_quiz(ui, "find")
    widget.exit()
    assert not ui.quizWidget.visible
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") == 0


def test_a_pair_is_made_with_one_seed_and_shown_in_linked_views(
    lesion: Any, ui: Any, node: Any, family: FakeFamily, application: Any
) -> None:
    from SynthCTModule.ResultNodes import results
    from SynthCTModule.SelfTest import labelVoxels

    node.seed = 5
    ui.pairButton.click()
    family.finish()
    application.processEvents()
    family.finish()
    assert [job["seed"] for job in family.jobs] == [5, 5]
    first, second = results()
    assert 23 in labelVoxels(first.mask) and 23 not in labelVoxels(second.mask)
    views = [application.layoutManager().sliceWidget(name).sliceLogic() for name in ("Red", "Yellow")]
    shown = [view.GetSliceCompositeNode().GetBackgroundVolumeID() for view in views]
    assert shown == [first.ct.GetID(), second.ct.GetID()]


def test_healing_gives_a_lesion_to_the_organ_around_it(lesion: Any, chest: Any) -> None:
    from SynthCTModule.Pairs import withoutLesions
    from SynthCTModule.SelfTest import labelVoxels

    assert labelVoxels(withoutLesions(lesion)) == labelVoxels(chest)


def test_a_pair_without_a_lesion_is_refused_in_words(chest: Any, ui: Any, shown_errors: list[str]) -> None:
    ui.pairButton.click()
    assert shown_errors == ["There is no lesion in the anatomy; put one in first, or load a case with one."]


def test_a_case_file_is_saved_and_opened_again(
    chest: Any, ui: Any, node: Any, tmp_path: Path, answer: Callable[..., None], shown_errors: list[str]
) -> None:
    from SynthCTModule.SelfTest import labelVoxels

    node.seed = 77
    ui.presetComboBox.setCurrentIndex(2)
    ui.customGridCheckBox.checked = True
    path = tmp_path / "Mein Fall.synthct-case"
    answer(path)
    ui.saveCaseButton.click()
    node.seed = 1
    answer(path)
    ui.openCaseButton.click()
    assert shown_errors == []
    assert node.inputNode is not chest
    assert node.inputNode.GetName() == "Mein Fall"
    assert labelVoxels(node.inputNode) == labelVoxels(chest)
    assert (node.seed, node.preset.value, node.customGrid) == (77, "best", True)
    assert ui.caseComboBox.currentText == "Mein Fall"


def test_a_file_that_is_no_case_is_refused_in_words(
    ui: Any, tmp_path: Path, answer: Callable[..., None], shown_errors: list[str]
) -> None:
    path = tmp_path / "bad.synthct-case"
    path.write_bytes(b"nothing")
    answer(path)
    ui.openCaseButton.click()
    assert len(shown_errors) == 1 and "bad.synthct-case" in shown_errors[0]


def test_what_synthetic_images_cannot_teach_is_said_in_the_panel(ui: Any) -> None:
    assert ui.limitsLabel.text.count("<li>") >= 3
    assert ui.noticeLabel.text == "Synthetic, not a patient, not for clinical use"
    assert ui.noticeLabel.visible
