"""Choosing, checking and changing the anatomy with the panel's buttons."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from SynthCTLib.cases import find_case
from Testing.module.bench.fake_worker import RECORDED, FakeFamily

Press = Callable[[Any], None]


def voxels(node: Any) -> dict[int, int]:
    """Voxels of each label."""
    from SynthCTModule.SelfTest import labelVoxels

    return labelVoxels(node)


def leaves(tree: Any) -> list[str]:
    """Names of the structures that the list shows."""
    groups = [tree.topLevelItem(number) for number in range(tree.topLevelItemCount)]
    return [group.child(row).text(0) for group in groups for row in range(group.childCount())]


def choose_structure(ui: Any, label_id: int) -> None:
    """Choose a structure for the buttons below the list."""
    ui.structureComboBox.setCurrentIndex(ui.structureComboBox.findData(label_id))


def drop_label(node: Any, segment_id: str, name: str) -> None:
    """Make a segment one that nobody knows."""
    segment = node.GetSegmentation().GetSegment(segment_id)
    for tag in ("SynthCT.LabelId", "TerminologyEntry"):
        segment.RemoveTag(tag)
    segment.SetName(name)


def test_a_case_is_loaded_with_its_seed_and_named_segments(ui: Any, node: Any) -> None:
    case = find_case("totalseg_s0327_lung_tumor")
    assert ui.caseComboBox.count >= 6
    ui.caseComboBox.setCurrentIndex(ui.caseComboBox.findText(case.title))
    assert ui.caseDescriptionLabel.text == case.description
    ui.loadCaseButton.click()
    assert node.inputNode.GetName() == case.title
    assert node.seed == case.settings["seed"]
    assert voxels(node.inputNode)[23] > 100


def test_views_without_a_volume_are_fitted_to_the_loaded_case(chest: Any) -> None:
    import slicer

    bounds = [0.0] * 6
    chest.GetRASBounds(bounds)
    red = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed")
    width, height = red.GetFieldOfView()[:2]
    assert width >= bounds[1] - bounds[0] and height >= bounds[3] - bounds[2]
    assert min(width / (bounds[1] - bounds[0]), height / (bounds[3] - bounds[2])) < 1.2


def test_a_good_anatomy_is_ready_for_a_run(chest: Any, ui: Any) -> None:
    ui.checkButton.click()
    assert ui.checkSummaryLabel.text.startswith("Ready for a run")


def test_a_segment_that_nobody_knows_is_named_and_can_be_given_its_label(chest: Any, ui: Any) -> None:
    drop_label(chest, "liver", "Livver")
    ui.checkButton.click()
    assert "before a run: 1" in ui.checkSummaryLabel.text
    assert "Livver" in ui.problemTable.item(0, 0).text()
    answers = ui.problemTable.cellWidget(0, 1)
    answers.setCurrentIndex(answers.findText("Liver"))
    answers.activated.emit(answers.currentIndex)
    assert chest.GetSegmentation().GetSegment("liver").GetName() == "Liver"
    assert ui.checkSummaryLabel.text.startswith("Ready for a run")


def test_a_name_like_no_other_gets_the_structure_chosen_in_the_list(chest: Any, ui: Any) -> None:
    drop_label(chest, "liver", "qqq")
    ui.checkButton.click()
    ui.labelSearchLineEdit.text = "liver"
    ui.problemTable.cellWidget(0, 1).click()
    assert chest.GetSegmentation().GetSegment("liver").GetName() == "Liver"


def test_a_segmentation_is_put_onto_the_models_grid_as_a_new_one(chest: Any, widget: Any, family: FakeFamily) -> None:
    from SynthCTModule.LabelArray import labelArray
    from SynthCTModule.SegmentationCheck import RESAMPLE, Problem

    before, fixed = labelArray(chest)[0].copy(), []
    problem = Problem("error", "The grid does not fit.", fix=RESAMPLE)
    model = widget._parameterNode.modelId
    widget.logic.workbench.fix(problem, chest, None, model, lambda *given: fixed.append(given))
    family.finish()
    ((node, text),) = fixed
    assert node is not chest and node.GetName().startswith(chest.GetName()) and "new segmentation" in text
    labels, affine = labelArray(node)
    report = json.loads((RECORDED / "report.json").read_text(encoding="utf-8"))
    assert list(labels.shape) == report["grid"]["shape"]
    assert np.allclose(affine, report["grid"]["affine"], atol=1e-3)
    assert (labelArray(chest)[0] == before).all()


def test_the_body_is_added_by_the_engine_with_one_click(chest: Any, ui: Any, family: FakeFamily) -> None:
    ui.checkButton.click()
    buttons = [ui.problemTable.cellWidget(row, 1) for row in range(ui.problemTable.rowCount)]
    next(button for button in buttons if button is not None and button.text == "Add body").click()
    family.finish()
    assert voxels(chest)[200] > 1000
    assert "body" not in " ".join(ui.problemTable.item(row, 0).text() for row in range(ui.problemTable.rowCount))


def test_the_list_finds_structures_by_the_beginnings_of_words(ui: Any) -> None:
    ui.labelSearchLineEdit.text = "left kid"
    assert leaves(ui.labelTree) == ["Left kidney", "Left kidney cyst"]
    ui.labelSearchLineEdit.text = "no such thing"
    assert leaves(ui.labelTree) == []


def test_the_list_is_filtered_by_organ_system_and_region(ui: Any) -> None:
    everything = len(leaves(ui.labelTree))
    ui.labelRegionComboBox.setCurrentIndex(ui.labelRegionComboBox.findData("head"))
    head = leaves(ui.labelTree)
    assert "Brain" in head and "Urinary bladder" not in head
    ui.labelRegionComboBox.setCurrentIndex(0)
    ui.labelGroupComboBox.setCurrentIndex(ui.labelGroupComboBox.findText("Lesions"))
    lesions = leaves(ui.labelTree)
    assert everything == 125
    assert "Lung tumor" in lesions and "Liver" not in lesions


def test_a_structure_is_added_with_name_color_and_terminology(chest: Any, ui: Any) -> None:
    from SynthCTModule.LabelColors import labelColor, terminologyEntry
    from SynthCTModule.SegmentLabels import segmentTag

    ui.labelSearchLineEdit.text = "pancreatic tumor"
    ui.addLabelButton.click()
    segment = chest.GetSegmentation().GetSegment(ui.segmentEditorWidget.currentSegmentID())
    assert segment.GetName() == "Pancreatic tumor"
    assert segment.GetColor() == pytest.approx(labelColor(24))
    assert segmentTag(segment, "TerminologyEntry") == terminologyEntry(24)
    assert not ui.editorGroupBox.collapsed


def test_a_structure_that_is_there_is_chosen_and_not_added_again(chest: Any, ui: Any) -> None:
    count = chest.GetSegmentation().GetNumberOfSegments()
    ui.labelSearchLineEdit.text = "liver"
    ui.addLabelButton.click()
    assert chest.GetSegmentation().GetNumberOfSegments() == count
    assert ui.segmentEditorWidget.currentSegmentID() == "liver"


def test_an_organ_grows_and_shrinks_and_the_editor_could_undo_it(chest: Any, ui: Any, press: Press) -> None:
    before = voxels(chest)
    choose_structure(ui, 1)
    ui.growSpinBox.value = 4
    press(ui.growButton)
    grown = voxels(chest)
    assert grown[1] > before[1]
    assert {label: count for label, count in grown.items() if label != 1} == {
        label: count for label, count in before.items() if label != 1
    }
    assert "ml" in ui.editResultLabel.text
    press(ui.shrinkButton)
    assert voxels(chest)[1] < grown[1]
    assert ui.segmentEditorWidget.undo_states == 2


def test_growing_without_a_structure_asks_for_one(chest: Any, ui: Any, shown_errors: list[str]) -> None:
    choose_structure(ui, -1)
    ui.structureComboBox.setCurrentIndex(0)
    ui.growButton.click()
    assert shown_errors == ["Choose the structure first."]


def test_the_anatomy_is_mirrored_and_left_stays_left(chest: Any, ui: Any, press: Press) -> None:
    from SynthCTModule.LabelArray import labelArray

    labels, _affine = labelArray(chest)
    press(ui.mirrorButton)
    mirrored, _affine = labelArray(chest)
    np.testing.assert_array_equal(mirrored == 1, (labels == 1)[::-1])
    np.testing.assert_array_equal(mirrored == 14, (labels == 5)[::-1])
    assert ui.editResultLabel.text.startswith("Mirrored.")


def test_a_lesion_is_put_into_the_chosen_organ_only(chest: Any, ui: Any, press: Press) -> None:
    before = voxels(chest)
    ui.lesionTypeComboBox.setCurrentIndex(ui.lesionTypeComboBox.findData(23))
    choose_structure(ui, 32)
    ui.lesionSizeSpinBox.value = 20
    press(ui.lesionButton)
    after = voxels(chest)
    assert after[23] > 0
    assert after[32] == before[32] - after[23]
    assert ui.editResultLabel.text.startswith("Lung tumor, 20 mm, in Right lower lobe")


def test_a_lesion_that_does_not_fit_is_refused_in_words(
    chest: Any, ui: Any, press: Press, shown_errors: list[str]
) -> None:
    before = voxels(chest)
    ui.lesionTypeComboBox.setCurrentIndex(ui.lesionTypeComboBox.findData(23))
    ui.lesionSizeSpinBox.value = 120
    ui.editGroupBox.collapsed = False
    ui.lesionButton.click()
    assert ui.editResultLabel.text == "Working…" and not ui.editResultLabel.isHidden()
    press(ui.lesionButton)
    assert len(shown_errors) == 1 and "room" in shown_errors[0]
    assert voxels(chest) == before
    assert ui.editResultLabel.text == "" and ui.editResultLabel.isHidden()


def test_drawing_starts_on_an_empty_grid_of_the_chosen_size(ui: Any, node: Any) -> None:
    from SynthCTModule.SegmentationLayers import referenceGrid

    ui.customGridCheckBox.checked = True
    ui.sizeXComboBox.setCurrentIndex(ui.sizeXComboBox.findData(64))
    ui.templateButton.click()
    assert referenceGrid(node.inputNode).shape == (64, 128, 96)
    assert ui.segmentEditorWidget.segmentationNode() is node.inputNode
    assert ui.segmentEditorWidget.sourceVolumeNode() is not None
    assert "no labeled voxels" in ui.fieldOfViewLabel.text


def test_a_label_map_is_taken_as_it_is_and_asks_what_its_numbers_mean(
    ui: Any, node: Any, family: FakeFamily, chest: Any
) -> None:
    import slicer

    from SynthCTModule.LabelArray import labelArray
    from SynthCTModule.VoxelGrid import fillImage, matrixFromArray

    labels, affine = labelArray(chest)
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Numbers")
    image = slicer.vtkOrientedImageData()
    fillImage(image, labels)
    slicer.vtkSlicerSegmentationsModuleLogic.CopyOrientedImageDataToVolumeNode(image, volume)
    volume.SetIJKToRASMatrix(matrixFromArray(affine))
    node.inputNode = volume
    assert ui.schemeComboBox.visible
    assert not ui.growButton.enabled and "label map" in ui.growButton.toolTip
    ui.schemeComboBox.setCurrentIndex(1)
    ui.generateButton.click()
    assert family.jobs[0]["labels"] == "maisi"


def test_a_check_of_a_label_map_says_what_its_numbers_could_mean(ui: Any, node: Any) -> None:
    node.inputNode = label_map(np.array([1, 5]))
    ui.checkButton.click()
    assert "before a run: 1" in ui.checkSummaryLabel.text
    assert "could be MAISI ids or TotalSegmentator" in ui.problemTable.item(0, 0).text()
    ui.schemeComboBox.setCurrentIndex(1)
    ui.checkButton.click()
    assert ui.checkSummaryLabel.text == "Ready for a run"


def test_a_check_of_a_label_map_names_the_number_that_is_no_label(ui: Any, node: Any) -> None:
    node.inputNode = label_map(np.array([1, 199]))
    ui.checkButton.click()
    assert "199" in ui.problemTable.item(0, 0).text()


def label_map(numbers: np.ndarray) -> Any:
    """A label map volume with a block of each number."""
    import slicer

    from SynthCTModule.VoxelGrid import fillImage

    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Numbers")
    image = slicer.vtkOrientedImageData()
    fillImage(
        image, np.asfortranarray(np.kron(numbers, np.ones(8)).astype(np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2))
    )
    slicer.vtkSlicerSegmentationsModuleLogic.CopyOrientedImageDataToVolumeNode(image, volume)
    return volume


def test_a_damaged_file_is_refused_before_slicer_reads_it(
    ui: Any, node: Any, tmp_path: Path, answer: Callable[..., None], shown_errors: list[str]
) -> None:
    path = tmp_path / "cut.nii.gz"
    path.write_bytes(b"\x1f\x8b\x08\x00 cut off")
    answer(path)
    ui.loadFileButton.click()
    assert shown_errors == ["'cut.nii.gz' is cut off or damaged; get it again."]
    assert node.inputNode is None


def test_files_are_loaded_by_slicer_as_what_they_are(
    ui: Any, node: Any, tmp_path: Path, answer: Callable[..., None], monkeypatch: pytest.MonkeyPatch, chest: Any
) -> None:
    import slicer

    from SynthCTLib.cases import demo_case

    asked: list[str] = []

    def load(path: str) -> Any:
        asked.append(Path(path).name)
        return chest

    monkeypatch.setattr(slicer.util, "loadLabelVolume", load)
    path = tmp_path / "ä b.nii.gz"
    whole = demo_case().path.read_bytes()
    answer(path)
    path.write_bytes(whole[: len(whole) // 2])  # Slicer would read the missing half as zeros
    ui.loadFileButton.click()
    assert asked == []
    path.write_bytes(whole)
    answer(path)
    ui.loadFileButton.click()
    assert asked == ["ä b.nii.gz"]


def test_the_editor_has_its_own_state_and_lets_go_when_the_module_is_left(chest: Any, ui: Any, widget: Any) -> None:
    ui.editorGroupBox.collapsed = False
    editor = ui.segmentEditorWidget
    assert editor.segmentationNode() is chest
    assert editor.mrmlSegmentEditorNode().GetSingletonTag() == "SynthCT.SegmentEditor"
    editor.setActiveEffectByName("Paint")
    widget.exit()
    assert editor.mrmlSegmentEditorNode().GetActiveEffectName() == ""


def test_a_case_shows_its_clinical_text_and_learning_goals_and_offers_its_healthy_partner(ui: Any, node: Any) -> None:
    from SynthCTLib.cases import find_case

    case = find_case("totalseg_s0327_lung_tumor")
    ui.caseComboBox.setCurrentIndex(ui.caseComboBox.findText(case.title))
    text = ui.caseTextEdit.plainText
    assert case.clinical_text and case.clinical_text in text
    assert case.learning_goals and all(goal in text for goal in case.learning_goals)
    assert ui.caseTextEdit.readOnly
    assert not ui.healthyCaseButton.isHidden()
    ui.healthyCaseButton.click()
    healthy = find_case(case.pair.healthy)
    assert node.inputNode.GetName() == healthy.title
    ui.caseComboBox.setCurrentIndex(ui.caseComboBox.findText(healthy.title))
    assert ui.healthyCaseButton.isHidden()


def test_organ_systems_and_regions_can_be_translated(ui: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from SynthCTLib.regions import REGIONS
    from SynthCTModule import LabelGroups
    from SynthCTModule.LabelColors import vocabulary

    monkeypatch.setattr(LabelGroups, "_", lambda text: f"ü {text}")
    for group in {label.group for label in vocabulary().classes_127()}:
        assert LabelGroups.groupName(group) == f"ü {group}"
    assert [LabelGroups.regionName(region) for region in REGIONS] == [f"ü {region.capitalize()}" for region in REGIONS]
    ui.labelSearchLineEdit.text = "spleen"
    assert ui.labelTree.topLevelItem(0).text(0).startswith("ü ")
