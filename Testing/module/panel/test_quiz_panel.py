"""The quiz in the panel: find it, name it, measure it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from Testing.module.bench.fake_worker import FakeFamily


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
    slicer.app.processEvents()


def is_placing() -> bool:
    """Whether a click into the views would place a point."""
    import slicer

    interaction = slicer.app.applicationLogic().GetInteractionNode()
    return interaction.GetCurrentInteractionMode() == interaction.Place


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


def test_the_point_that_answers_is_removed_only_after_slicer_has_placed_it(chest: Any, ui: Any) -> None:
    import slicer

    start_quiz(ui, "find")
    point = slicer.mrmlScene.GetNthNodeByClass(0, "vtkMRMLMarkupsFiducialNode")
    point.AddControlPointWorld(0, 0, 0)
    assert point.GetScene() is slicer.mrmlScene
    assert ui.quizFeedbackLabel.text == ""
    slicer.app.processEvents()
    assert point.GetScene() is None
    assert ui.quizFeedbackLabel.text.startswith(("Right", "Not quite"))


def test_skipping_or_leaving_gives_the_mouse_back_to_the_views(chest: Any, ui: Any, widget: Any) -> None:
    import slicer

    start_quiz(ui, "find")
    assert is_placing()
    ui.quizNextButton.click()
    assert not is_placing()
    ui.quizNextButton.click()
    assert is_placing()
    widget.exit()
    assert not is_placing()
    start_quiz(ui, "measure")
    ui.quizRulerButton.click()
    selection = slicer.app.applicationLogic().GetSelectionNode()
    assert selection.GetActivePlaceNodeClassName() == "vtkMRMLMarkupsLineNode"
    widget.exit()
    assert not is_placing()
    assert selection.GetActivePlaceNodeID() is None
    for name in ("vtkMRMLMarkupsNode", "vtkMRMLMarkupsDisplayNode"):
        assert slicer.mrmlScene.GetNumberOfNodesByClass(name) == 0


@pytest.mark.parametrize("kind", ["find", "name"])
def test_no_other_overlay_gives_the_answer_away(
    kind: str, chest: Any, ui: Any, widget: Any, family: FakeFamily
) -> None:
    import slicer

    from SynthCTModule.ResultNodes import results

    ui.generateButton.click()
    family.finish()
    view = slicer.mrmlScene.GetNthNodeByClass(0, "vtkMRMLSliceCompositeNode")
    view.SetLabelOpacity(0.4)
    mask = results()[0].mask
    hidden = mask.GetSegmentation().GetNthSegmentID(2)
    mask.GetDisplayNode().SetSegmentVisibility(hidden, False)
    start_quiz(ui, kind)
    assert not chest.GetDisplayNode().GetVisibility()
    assert mask.GetDisplayNode().GetVisibility() == (kind == "name")
    assert view.GetLabelOpacity() == 0
    widget.exit()
    assert chest.GetDisplayNode().GetVisibility() and mask.GetDisplayNode().GetVisibility()
    assert view.GetLabelOpacity() == 0.4
    segments = mask.GetSegmentation().GetSegmentIDs()
    assert [one for one in segments if not mask.GetDisplayNode().GetSegmentVisibility(one)] == [hidden]


def test_student_mode_switched_during_a_quiz_leaves_the_overlay_as_it_says(chest: Any, ui: Any, widget: Any) -> None:
    start_quiz(ui, "find")
    ui.studentModeCheckBox.checked = True
    widget.exit()
    assert not chest.GetDisplayNode().GetVisibility()
    widget.enter()
    start_quiz(ui, "find")
    ui.studentModeCheckBox.checked = False
    assert not chest.GetDisplayNode().GetVisibility()
    widget.exit()
    assert chest.GetDisplayNode().GetVisibility()


def label_map(chest: Any, node: Any, numbers: dict[int, int]) -> Any:
    """The sample case as label map volume with other numbers, chosen as anatomy."""
    import numpy as np
    import slicer

    from SynthCTModule.LabelArray import labelArray
    from SynthCTModule.VoxelGrid import fillImage, matrixFromArray

    labels, affine = labelArray(chest)
    image = slicer.vtkOrientedImageData()
    fillImage(image, np.array([numbers.get(i, 0) for i in range(256)], np.uint8)[labels])
    node.inputNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Numbers")
    slicer.vtkSlicerSegmentationsModuleLogic.CopyOrientedImageDataToVolumeNode(image, node.inputNode)
    node.inputNode.SetIJKToRASMatrix(matrixFromArray(affine))
    return node.inputNode


def test_the_key_of_a_label_map_is_what_its_numbers_mean(chest: Any, ui: Any, node: Any, widget: Any) -> None:
    import slicer

    from SynthCTLib.labels import load_vocabulary
    from SynthCTModule.panels.QuizPanel import QuizPanel
    from SynthCTModule.SelfTest import labelVoxels

    known = load_vocabulary().labels
    numbers = {label.id: label.totalsegmentator_id for label in known if label.totalsegmentator_id is not None}
    label_map(chest, node, numbers)
    segmentations = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
    start_quiz(ui, "name", 50)
    quiz = next(panel for panel in widget.panels if isinstance(panel, QuizPanel))._quiz
    assert {asked.label for asked in quiz.questions} <= set(labelVoxels(chest))
    marked = slicer.mrmlScene.GetNthNodeByClass(segmentations, "vtkMRMLSegmentationNode")
    assert marked.GetDisplayNode().GetVisibility()
    widget.exit()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == segmentations


def test_a_label_map_that_may_mean_two_things_is_no_key(
    chest: Any, ui: Any, node: Any, shown_errors: list[str]
) -> None:
    label_map(chest, node, {1: 5})
    start_quiz(ui, "find")
    assert len(shown_errors) == 1 and "could be MAISI ids or TotalSegmentator" in shown_errors[0]
    assert not ui.quizWidget.visible


def test_the_volume_of_a_liver_can_be_typed(ui: Any) -> None:
    ui.quizAnswerSpinBox.value = 1263
    assert ui.quizAnswerSpinBox.value == 1263


def test_questions_and_verdicts_can_be_translated(chest: Any, ui: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from SynthCTModule import QuizTexts

    monkeypatch.setattr(QuizTexts, "_", lambda text: f"ü {text}")
    start_quiz(ui, "find")
    assert ui.quizQuestionLabel.text.startswith("ü Click the structure: ")
    click_in_the_views((1000.0, 1000.0, 1000.0))
    assert ui.quizFeedbackLabel.text.startswith("ü Not quite: ü a place without a label.")


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
