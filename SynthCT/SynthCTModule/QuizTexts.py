"""Questions and verdicts of the quiz in words that can be translated; the engine gives codes and names."""

from __future__ import annotations

from typing import Any

from SynthCTModule.EngineText import engineText
from SynthCTModule.LabelNames import labelName
from SynthCTModule.Translation import _


def questionText(question: Any) -> str:
    """A question (SynthCTLib.quiz_questions.Question) as a sentence."""
    if question.kind == "name":
        return _("What is the marked structure called?")
    texts = {
        None: _("Click the structure: {name}."),
        "volume_ml": _("Measure the volume, in milliliters: {name}."),
        "extent_mm": _("Measure the longest straight extent, in millimeters: {name}."),
        "diameter_mm": _("Measure the longest diameter in one transverse slice, in millimeters: {name}."),
    }
    return texts[question.what].format(name=labelName(question.label))


def verdictText(answer: Any) -> str:
    """An answer (SynthCTLib.quiz.Answer) with the right one, and what the case explains, in sentences."""
    from SynthCTLib.quiz import NO_LABEL

    if answer.skipped:
        text = _("Skipped. The answer is: {expected}.")
    elif answer.correct:
        text = _("Right: {expected}.")
    else:
        text = _("Not quite: {given}. The answer is: {expected}.")
    given = _("a place without a label") if answer.given == NO_LABEL else engineText(answer.given)
    return f"{text.format(given=given, expected=engineText(answer.expected))} {answer.question.explanation}".strip()
