"""Quiz: find it, name it, measure it; the label map of the chosen CT is the answer key."""

from __future__ import annotations

from enum import Enum
from typing import Any

import qt
import slicer

from SynthCTModule.Cases import caseOf
from SynthCTModule.LabelArray import labelArray
from SynthCTModule.LabelNames import labelName
from SynthCTModule.panels.Panel import Panel, setEnabled, shownErrors
from SynthCTModule.panels.SavePath import savePath
from SynthCTModule.QuizMarks import PointPicker, Ruler, StructureMark
from SynthCTModule.QuizTexts import questionText, verdictText
from SynthCTModule.ResultNodes import MASK_ROLE, isResult, jumpTo
from SynthCTModule.SegmentationExchange import importLabelmap
from SynthCTModule.SegmentLabels import resolveSegments
from SynthCTModule.Translation import _


class QuizKind(Enum):
    """What is asked."""

    CASE = "case"
    MIXED = "mixed"
    FIND = "find"
    NAME = "name"
    MEASURE = "measure"


class QuizPanel(Panel):
    """The quiz in the section *Teaching*."""

    def setup(self) -> None:
        ui = self.ui
        self._quiz: Any = None
        self._mask: Any = None
        self._ownMask = False
        self._isAnswered = False
        self._choices: list[Any] = []
        self._picker, self._ruler, self._mark = PointPicker(self._onPoint), Ruler(self._onLength), StructureMark()
        titles = {
            QuizKind.MIXED: _("Mixed"),
            QuizKind.CASE: _("Questions of the case"),
            QuizKind.FIND: _("Find it"),
            QuizKind.NAME: _("Name it"),
            QuizKind.MEASURE: _("Measure it"),
        }
        for kind, title in titles.items():
            ui.quizComboBox.addItem(title, kind.value)
        self._startTip, self._saveTip = ui.startQuizButton.toolTip, ui.saveScoreButton.toolTip
        ui.startQuizButton.connect("clicked(bool)", self._onStart)
        ui.quizAnswerButton.connect("clicked(bool)", self._onAnswer)
        ui.quizNextButton.connect("clicked(bool)", self._onNext)
        ui.quizRulerButton.connect("clicked(bool)", lambda _checked: self._ruler.start(_("Your measurement")))
        ui.saveScoreButton.connect("clicked(bool)", self._onSave)

    def update(self) -> None:
        setEnabled(self.ui.startQuizButton, self._startReason(), self._startTip)

    def exit(self) -> None:
        """End the quiz: its marks belong to this module and this scene."""
        self._stop()
        self.ui.quizWidget.visible = False

    def _startReason(self) -> str:
        """Why there can be no quiz; empty when there can."""
        if self._answerKey() is not None:
            return ""
        if self.node.resultVolume is not None and isResult(self.node.resultVolume):
            return _("This CT has no label map, which would be the answer key; choose another one.")
        return _("Choose a CT or a segmentation first.")

    def _answerKey(self) -> Any:
        """The label map of the chosen CT; the chosen anatomy without one of SynthCT, of which it would say nothing."""
        ct = self.node.resultVolume
        isSynthetic = ct is not None and isResult(ct)
        return ct.GetNodeReference(MASK_ROLE) if isSynthetic else self.node.inputNode

    def _onStart(self, _checked: bool = False) -> None:
        with shownErrors():
            self._stop()
            key = self._answerKey()
            labels, affine = labelArray(key, self.node.labelScheme.value)
            self._quiz = _makeQuiz(
                QuizKind(self.ui.quizComboBox.currentData),
                labels,
                affine,
                self.ui.quizCountSpinBox.value,
                self.node.seed,
                caseOf(self.node.inputNode),
            )
            self._useMask(key, labels, affine)
            self.ui.quizWidget.visible = True
            self._ask()

    def _useMask(self, key: Any, labels: Any, affine: Any) -> None:
        """Take the segments of the answer key as marks; for a label map, which has none, make them for the quiz."""
        self._ownMask = not key.IsA("vtkMRMLSegmentationNode")
        self._mask = key
        if self._ownMask:
            self._mask = importLabelmap(labels, affine, key.GetName())
            self._mask.SetHideFromEditors(True)
            self._mask.GetDisplayNode().SetVisibility(False)

    def _ask(self) -> None:
        """Show the current question, or the score at the end."""
        self._clearMarks()
        ui, question = self.ui, self._quiz.current
        self._isAnswered = False
        ui.quizFeedbackLabel.text = ""
        ui.quizFeedbackLabel.visible = False
        ui.quizAnswerButton.visible = ui.quizAnswerSpinBox.visible = ui.quizRulerButton.visible = False
        ui.quizNextButton.text = _("Skip")
        ui.quizNextButton.visible = question is not None
        self._showScore()
        self._showChoices(())
        if question is None:
            missed = ", ".join(map(labelName, self._quiz.missed))
            ui.quizQuestionLabel.text = _("Done. {missed}").format(
                missed=_("Look again at: {names}.").format(names=missed) if missed else _("Nothing was missed.")
            )
            return
        ui.quizQuestionLabel.text = questionText(question)
        ui.quizQuestionLabel.toolTip = question.hint
        if question.kind == "find":
            self._mark.hideAll()
            self._picker.start("?")
        elif question.kind == "name":
            self._markStructure(question.label)
            self._showChoices(question.choices)
        else:
            from SynthCTLib.measures import UNITS

            ui.quizAnswerButton.visible = ui.quizAnswerSpinBox.visible = True
            ui.quizAnswerSpinBox.suffix = f" {UNITS[question.what]}"
            ui.quizRulerButton.visible = UNITS[question.what] == "mm"

    def _markStructure(self, label: int) -> None:
        segments = {segment.labelId: segment.segmentId for segment in resolveSegments(self._mask)}
        if label in segments:
            self._mark.show(self._mask, segments[label])
        jumpTo(self._quiz.place(label))

    def _showChoices(self, labels: tuple[int, ...]) -> None:
        """A button for each name to choose from."""
        layout = self.ui.quizChoicesWidget.layout()
        for button in self._choices:
            layout.removeWidget(button)
            button.hide()
            button.deleteLater()
        self._choices = []
        for label in labels:
            button = qt.QPushButton(labelName(label))
            button.connect("clicked(bool)", lambda _checked, label=label: self._onName(label))
            layout.addWidget(button)
            self._choices.append(button)

    def _onPoint(self, point: tuple[float, float, float]) -> None:
        self._answered(self._quiz.answer_find(point))

    def _onName(self, label: int) -> None:
        self._answered(self._quiz.answer_name(label))

    def _onLength(self, length: float) -> None:
        self.ui.quizAnswerSpinBox.value = length

    def _onAnswer(self, _checked: bool = False) -> None:
        self._answered(self._quiz.answer_measure(self.ui.quizAnswerSpinBox.value))

    def _answered(self, answer: Any) -> None:
        """Show whether it was right, and where the structure is; *Next* goes on."""
        self._clearMarks()
        self._showChoices(())
        self._isAnswered = True
        ui = self.ui
        ui.quizAnswerButton.visible = ui.quizAnswerSpinBox.visible = ui.quizRulerButton.visible = False
        ui.quizFeedbackLabel.text = verdictText(answer)
        ui.quizFeedbackLabel.visible = True
        ui.quizFeedbackLabel.styleSheet = f"QLabel {{ color: {'#2e7d32' if answer.correct else '#b00020'}; }}"
        ui.quizNextButton.text = _("Next")
        self._markStructure(answer.question.label)
        self._showScore()

    def _onNext(self, _checked: bool = False) -> None:
        if self._isAnswered:
            self._ask()
        else:
            self._answered(self._quiz.skip())

    def _showScore(self) -> None:
        right, asked = self._quiz.score
        text = _("{right} right of {asked}; {total} questions in all")
        self.ui.quizScoreLabel.text = text.format(right=right, asked=asked, total=len(self._quiz.questions))
        setEnabled(self.ui.saveScoreButton, "" if asked else _("Answer a question first."), self._saveTip)

    def _onSave(self, _checked: bool = False) -> None:
        path = savePath(_("Save the score"), "quiz", (".csv",))
        if path:
            from SynthCTLib.quiz_export import write_quiz_csv

            with shownErrors():
                write_quiz_csv(path, self._quiz, self._mask.GetName())

    def _clearMarks(self) -> None:
        self._picker.stop()
        self._ruler.stop()
        self._mark.clear()

    def _stop(self) -> None:
        self._clearMarks()
        if self._ownMask and self._mask.GetScene() is not None:
            slicer.mrmlScene.RemoveNode(self._mask)
        self._quiz = self._mask = None
        self._ownMask = False


def _makeQuiz(kind: QuizKind, labels: Any, affine: Any, count: int, seed: int, case: Any) -> Any:
    """A quiz about a label map. Raises InputError when there is nothing to ask."""
    from SynthCTLib.quiz import Quiz
    from SynthCTLib.quiz_questions import automatic_questions, questions_of_case

    if kind is QuizKind.CASE:
        entries = [entry for entry in case.questions if (labels == entry["label"]).any()] if case else []
        return Quiz(questions_of_case(entries, labels, affine, seed), labels, affine)
    kinds = ("find", "name") if kind is QuizKind.MIXED else (kind.value,)
    return Quiz(automatic_questions(labels, affine, count, seed, kinds), labels, affine)
