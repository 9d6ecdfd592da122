"""The panels follow the chosen anatomy, whoever changes it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def pause(application: Any) -> Any:
    """Waits until the panels have looked at an edited anatomy again."""

    def wait() -> None:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            application.processEvents()
            time.sleep(0.02)

    return wait


def paint(node: Any, segment_id: str, voxels: tuple[slice, slice, slice]) -> None:
    """Draw a segment as the editor's effects do: in its label map, without a word to the module."""
    import slicer

    from SynthCTModule.SegmentationLayers import referenceGrid
    from SynthCTModule.VoxelGrid import fillImage, matrixFromArray

    grid = referenceGrid(node)
    array = np.zeros(grid.shape, np.uint8, order="F")
    array[voxels] = 1
    image = slicer.vtkOrientedImageData()
    fillImage(image, array)
    image.SetImageToWorldMatrix(matrixFromArray(grid.affine))
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.SetBinaryLabelmapToSegment(image, node, segment_id, logic.MODE_REPLACE)


def test_a_drawn_structure_gives_a_plan_and_an_estimate(ui: Any, node: Any, pause: Any) -> None:
    ui.templateButton.click()
    assert ui.estimateLabel.text == "–"
    ui.labelSearchLineEdit.text = "liver"
    ui.addLabelButton.click()
    paint(node.inputNode, ui.segmentEditorWidget.currentSegmentID(), np.s_[30:60, 30:60, 30:60])
    pause()
    assert "mm in all" in ui.fieldOfViewLabel.text
    assert "GB" in ui.estimateLabel.text


def test_an_added_structure_can_be_changed_at_once(chest: Any, ui: Any) -> None:
    assert ui.structureComboBox.findText("Pancreatic tumor") < 0
    ui.labelSearchLineEdit.text = "pancreatic tumor"
    ui.addLabelButton.click()
    assert ui.structureComboBox.findText("Pancreatic tumor") >= 0


def test_what_another_module_removes_and_renames_is_followed(chest: Any, ui: Any, pause: Any) -> None:
    chest.GetSegmentation().RemoveSegment("liver")
    chest.GetSegmentation().GetSegment("spleen").SetName("My spleen")
    pause()
    assert ui.structureComboBox.findText("Liver") < 0
    assert ui.structureComboBox.findText("My spleen") >= 0


def test_a_check_is_forgotten_when_the_anatomy_has_changed(chest: Any, ui: Any, pause: Any) -> None:
    ui.checkButton.click()
    pause()
    assert ui.checkSummaryLabel.text.startswith("Ready for a run")
    chest.GetSegmentation().RemoveSegment("liver")
    pause()
    assert ui.checkSummaryLabel.text == ""
    assert ui.problemTable.rowCount == 0


def test_labels_are_composed_once_for_all_grids(chest: Any, ui: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import SynthCTModule.Workbench as workbench

    composed: list[Any] = []
    monkeypatch.setattr(workbench, "labelArray", lambda *_arguments: composed.append(1))
    ui.customGridCheckBox.checked = True
    before = ui.fieldOfViewLabel.text
    ui.sizeZComboBox.setCurrentIndex(ui.sizeZComboBox.findData(48))
    assert ui.fieldOfViewLabel.text != before
    assert composed == []


def test_a_drawing_that_takes_long_to_look_at_is_looked_at_later(chest: Any, widget: Any) -> None:
    from SynthCTModule.InputObserver import PAUSE

    observer = widget.logic.workbench.input
    chest.GetSegmentation().GetSegment("liver").SetName("Hepar")
    observer.settle()
    usual = observer._timer.interval
    observer.changed.connect(lambda: time.sleep(0.5))
    chest.GetSegmentation().GetSegment("liver").SetName("Liver")
    observer.settle()
    assert usual >= PAUSE and observer._timer.interval >= 2500


@pytest.mark.parametrize("entered", [True, False])
def test_adding_a_scene_file_leaves_the_chosen_anatomy(chest: Any, ui: Any, widget: Any, entered: bool) -> None:
    import slicer

    if not entered:
        widget.parent.isEntered = False
        widget.exit()
    slicer.mrmlScene.StartState(slicer.vtkMRMLScene.ImportState)
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Added")
    slicer.mrmlScene.EndState(slicer.vtkMRMLScene.ImportState)
    if not entered:
        widget.parent.isEntered = True
        widget.enter()
    assert widget._parameterNode.inputNode is ui.inputSelector.currentNode() is chest
    assert ui.inputSelector.findText("Added") > 0


def test_a_module_that_is_not_shown_looks_at_nothing_until_it_is(
    chest: Any, ui: Any, widget: Any, pause: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import SynthCTModule.Workbench as workbench

    composed: list[Any] = []
    original = workbench.labelArray
    monkeypatch.setattr(workbench, "labelArray", lambda *values: composed.append(1) or original(*values))
    widget.exit()
    chest.GetSegmentation().RemoveSegment("liver")
    pause()
    assert composed == [] and ui.structureComboBox.findText("Liver") >= 0
    widget.enter()
    assert composed and ui.structureComboBox.findText("Liver") < 0


def test_settings_that_change_while_the_module_is_not_shown_are_shown_on_return(ui: Any, widget: Any) -> None:
    widget.exit()
    widget._parameterNode.count = 3
    assert ui.countSpinBox.value == 1
    widget.enter()
    assert ui.countSpinBox.value == 3
