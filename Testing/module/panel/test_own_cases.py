"""Cases that teachers make: saved, opened, and what they keep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


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


def saved_case(ui: Any, node: Any, path: Path, answer: Callable[..., None]) -> Any:
    """The chosen anatomy saved as case file, as the user's program finds it when it is opened."""
    from SynthCTModule.Cases import openCaseFile

    answer(path)
    ui.saveCaseButton.click()
    return openCaseFile(path)


def test_a_saved_case_keeps_its_healthy_partner(
    lesion: Any, ui: Any, node: Any, tmp_path: Path, answer: Callable[..., None], shown_errors: list[str]
) -> None:
    from SynthCTModule.Cases import caseOf

    case = saved_case(ui, node, tmp_path / "Copy.synthct-case", answer)
    assert shown_errors == []
    assert case.pair == caseOf(lesion).pair and case.pair is not None
    assert case.view == caseOf(lesion).view and "center_label" in case.view


def test_a_case_is_saved_although_the_structure_in_its_middle_has_gone(
    lesion: Any, ui: Any, node: Any, tmp_path: Path, answer: Callable[..., None], shown_errors: list[str]
) -> None:
    from SynthCTModule.Cases import caseOf
    from SynthCTModule.Pairs import withoutLesions

    healed = withoutLesions(lesion)
    healed.SetAttribute("SynthCT.CaseFolder", lesion.GetAttribute("SynthCT.CaseFolder"))
    node.inputNode = healed
    assert caseOf(healed).view["center_label"] == 23
    case = saved_case(ui, node, tmp_path / "Healed.synthct-case", answer)
    assert shown_errors == []
    assert "center_label" not in case.view and case.pair is None


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


def test_an_own_drawing_gets_no_licence_that_its_author_has_not_chosen(chest: Any, tmp_path: Path) -> None:
    from SynthCTLib.case_bundle import read_case_bundle
    from SynthCTModule.Cases import CASE_ATTRIBUTE, saveCaseFile

    chest.RemoveAttribute(CASE_ATTRIBUTE)
    case = read_case_bundle(saveCaseFile(chest, tmp_path / "Mine.synthct-case", {"seed": 1}), tmp_path)
    assert case.licence["name"].startswith("Not stated") and case.licence["url"] == ""


def test_a_copy_of_a_bundled_case_keeps_its_licence(chest: Any, tmp_path: Path) -> None:
    from SynthCTLib.case_bundle import read_case_bundle
    from SynthCTModule.Cases import caseOf, saveCaseFile

    origin = caseOf(chest)
    case = read_case_bundle(saveCaseFile(chest, tmp_path / "Copy.synthct-case", {"seed": 1}), tmp_path)
    assert origin is not None and case.licence == origin.licence


def test_what_would_leave_out_an_unknown_segment_stops_with_its_name(
    lesion: Any,
    ui: Any,
    tmp_path: Path,
    press: Callable[[Any], None],
    answer: Callable[..., None],
    shown_errors: list[str],
    family: Any,
) -> None:
    from SynthCTModule.SelfTest import labelVoxels

    segment = lesion.GetSegmentation().GetSegment("heart")
    for tag in ("SynthCT.LabelId", "TerminologyEntry"):
        segment.RemoveTag(tag)
    segment.SetName("my blob")
    before = labelVoxels(lesion)
    answer(tmp_path / "Case.synthct-case")
    for button in (ui.saveCaseButton, ui.mirrorButton, ui.pairButton):
        press(button)
    assert len(shown_errors) == 3 and all("my blob" in text for text in shown_errors)
    assert list(tmp_path.glob("*.synthct-case")) == [] and family.jobs == []
    assert labelVoxels(lesion) == before
