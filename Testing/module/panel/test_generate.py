"""From opening the module to a CT, and every way in which a run can end, as seen in the panel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from Testing.module.bench.fake_worker import FakeFamily


def cts() -> list[Any]:
    """The synthetic CTs of the scene."""
    from SynthCTModule.ResultNodes import results

    return [nodes.ct for nodes in results()]


def start(ui: Any, family: FakeFamily, lines: int) -> None:
    """Press Generate and let the worker say some lines."""
    ui.generateButton.click()
    family.running()[0].step(lines)


def leftovers(application: Any) -> list[Path]:
    """What runs have left in the folder for temporary files."""
    return list(Path(application.temporaryPath).glob("SynthCT-run*"))


def test_three_clicks_give_a_ct_beside_its_organ_check(ui: Any, node: Any, family: FakeFamily) -> None:
    ui.sampleCaseButton.click()
    ui.generateButton.click()
    family.finish()
    assert cts() == [node.resultVolume]
    assert "Done" in ui.messageLabel.text
    assert not ui.resultCollapsibleButton.collapsed
    names = {ui.organTable.item(row, 0).text() for row in range(ui.organTable.rowCount)}
    assert {"Liver", "Lungs (all lobes)"} <= names


def test_a_run_writes_the_segmentation_in_maisi_ids_and_leaves_it_as_it_is(
    chest: Any, ui: Any, family: FakeFamily, application: Any
) -> None:
    before = [chest.GetSegmentation().GetNthSegment(n).GetName() for n in range(3)]
    ui.generateButton.click()
    assert family.jobs[0]["labels"] == "maisi"
    assert Path(family.jobs[0]["mask"]).is_file()
    family.finish()
    assert [chest.GetSegmentation().GetNthSegment(n).GetName() for n in range(3)] == before
    assert leftovers(application) == []


def test_the_job_says_what_the_panel_says(chest: Any, ui: Any, node: Any, family: FakeFamily) -> None:
    import qt

    ui.seedSpinBox.value = 42
    ui.presetComboBox.setCurrentIndex(1)
    ui.customGridCheckBox.checked = True
    ui.sizeXComboBox.setCurrentIndex(ui.sizeXComboBox.findData(96))
    ui.spacingSliceSpinBox.value = 4.5
    ui.deviceComboBox.setCurrentIndex(1)
    ui.retriesSpinBox.value = 2
    ui.inputGridCheckBox.setCheckState(qt.Qt.Checked)
    ui.generateButton.click()
    job = family.jobs[0]
    assert (job["seed"], job["preset"], job["device"], job["retries"]) == (42, "draft", "cpu", 2)
    assert job["size"] == [96, 128, 96]
    assert job["spacing"] == [3.2, 3.2, 4.5]
    assert job["grid"] == "input"


def test_the_button_becomes_cancel_and_nothing_is_made_after_it(
    chest: Any, ui: Any, family: FakeFamily, application: Any
) -> None:
    start(ui, family, 15)
    assert ui.generateButton.text == "Cancel"
    assert ui.progressBar.value > 0
    assert "left" in ui.stageLabel.text
    ui.generateButton.click()
    family.finish()
    assert ui.generateButton.text == "Generate CT"
    assert "Cancelled" in ui.messageLabel.text
    assert cts() == []
    assert leftovers(application) == []


def test_a_failed_run_is_a_sentence_with_advice_and_an_open_log(chest: Any, ui: Any, family: FakeFamily) -> None:
    family.ending = "error"
    ui.generateButton.click()
    family.finish()
    assert ui.messageLabel.text.startswith("Memory does not suffice. Choose a smaller size")
    assert not ui.logGroupBox.collapsed
    assert "Memory does not suffice." in ui.logTextEdit.plainText
    assert ui.generateButton.enabled


def test_a_crashed_worker_is_a_sentence_and_the_log_can_be_copied(
    chest: Any, ui: Any, family: FakeFamily, application: Any
) -> None:
    family.ending = "crash"
    ui.generateButton.click()
    family.finish()
    assert "ended unexpectedly" in ui.messageLabel.text
    ui.copyLogButton.click()
    assert "Segmentation fault" in application.clipboard().text()


def test_the_disabled_button_names_everything_that_is_missing(ui: Any, widget: Any) -> None:
    widget.logic.workbench._setupReasons = ["PyTorch: Not installed."]
    widget._update()
    assert not ui.generateButton.enabled
    assert "Choose an anatomy" in ui.generateButton.toolTip
    assert "PyTorch: Not installed." in ui.generateButton.toolTip
    assert ui.missingLabel.text in ui.generateButton.toolTip


def test_a_model_that_is_not_there_disables_the_button_with_the_reason(chest: Any, ui: Any) -> None:
    ui.modelComboBox.setCurrentIndex(ui.modelComboBox.findData("nv-generate-ct-rflow"))
    assert not ui.generateButton.enabled
    assert "not on this computer" in ui.generateButton.toolTip


def test_the_dice_gives_another_seed(ui: Any, node: Any) -> None:
    seeds = {node.seed}
    for _roll in range(3):
        ui.diceButton.click()
        seeds.add(node.seed)
    assert len(seeds) == 4
    assert ui.seedSpinBox.value == node.seed


def test_a_ct_comes_although_the_anatomy_was_deleted_during_the_run(chest: Any, ui: Any, family: FakeFamily) -> None:
    import slicer

    start(ui, family, 15)
    slicer.mrmlScene.RemoveNode(chest)
    family.finish()
    assert "Done" in ui.messageLabel.text
    assert [ct.GetName() for ct in cts()] == ["Chest and upper abdomen CT"]


def test_a_ct_comes_although_the_volume_for_it_was_deleted_during_the_run(
    chest: Any, widget: Any, family: FakeFamily
) -> None:
    import slicer

    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Mine")
    widget.logic.process(chest, volume)
    slicer.mrmlScene.RemoveNode(volume)
    family.finish()
    assert [ct.GetName() for ct in cts()] == ["Chest and upper abdomen CT"]


def test_several_runs_stay_side_by_side(chest: Any, ui: Any, node: Any, family: FakeFamily) -> None:
    for seed in (1, 2):
        node.seed = seed
        ui.generateButton.click()
        family.finish()
    assert [ct.GetAttribute("SynthCT.Seed") for ct in cts()] == ["1", "2"]
    assert len({ct.GetName() for ct in cts()}) == 2
    assert node.resultVolume is cts()[1]


def test_closing_the_scene_during_a_run_leaves_no_process_and_no_file(
    chest: Any, ui: Any, family: FakeFamily, application: Any
) -> None:
    import slicer

    start(ui, family, 15)
    assert leftovers(application)
    slicer.mrmlScene.Clear(0)
    assert leftovers(application) == []
    family.finish()
    assert cts() == []
    assert not ui.progressBar.visible
    assert ui.generateButton.text == "Generate CT"
    assert not ui.generateButton.enabled


def test_after_closing_the_scene_the_next_run_works(chest: Any, ui: Any, family: FakeFamily) -> None:
    import slicer

    start(ui, family, 5)
    slicer.mrmlScene.Clear(0)
    family.finish()
    ui.sampleCaseButton.click()
    ui.generateButton.click()
    family.finish()
    assert len(cts()) == 1


def test_leaving_the_module_during_a_run_lets_it_go_on(chest: Any, widget: Any, ui: Any, family: FakeFamily) -> None:
    start(ui, family, 15)
    widget.exit()
    family.finish()
    assert len(cts()) == 1


def test_closing_the_module_during_a_run_kills_the_process(
    chest: Any, widget: Any, ui: Any, family: FakeFamily, application: Any
) -> None:
    start(ui, family, 15)
    widget.cleanup()
    family.finish()
    assert leftovers(application) == []
    assert cts() == []


def test_unknown_segments_stop_the_run_and_appear_in_the_table(chest: Any, ui: Any, family: FakeFamily) -> None:
    segment = chest.GetSegmentation().GetSegment("liver")
    for tag in ("SynthCT.LabelId", "TerminologyEntry"):
        segment.RemoveTag(tag)
    segment.SetName("my blob")
    ui.generateButton.click()
    assert family.jobs == []
    assert "my blob" in ui.messageLabel.text
    assert "my blob" in ui.problemTable.item(0, 0).text()


@pytest.mark.slow
def test_the_real_engine_makes_a_ct_from_the_sample_case(application: Any, tmp_path: Path) -> None:
    from SynthCTModule.WorkerProcess import PopenWorkerProcess
    from Testing.module.bench.install import make_widget

    application.start_over(tmp_path)
    widget = make_widget(PopenWorkerProcess)
    try:
        widget.ui.sampleCaseButton.click()
        widget.ui.presetComboBox.setCurrentIndex(1)
        widget.ui.customGridCheckBox.checked = True  # a small one; the self-test takes the model's own
        widget._parameterNode.sizeX = widget._parameterNode.sizeY = 64
        widget._parameterNode.sizeZ = 48
        widget._parameterNode.spacingInPlane = widget._parameterNode.spacingSlice = 5.0
        widget.ui.generateButton.click()
        assert widget.logic.workbench.run.wait(600)
        assert "Done" in widget.ui.messageLabel.text
        assert widget.ui.organTable.rowCount > 50
    finally:
        widget.cleanup()


@pytest.mark.parametrize("end", ["cancel", "close"])
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_result_that_is_being_loaded_can_still_be_cancelled_or_closed_and_leaves_nothing(
    chest: Any, ui: Any, widget: Any, family: FakeFamily, application: Any, end: str, steps: int
) -> None:
    import slicer

    from SynthCTModule.ResultNodes import results
    from SynthCTModule.RunState import RunState

    ui.generateButton.click()
    (process,) = family.running()
    while process.isRunning():
        process.step()
    run = widget.logic.workbench.run
    for _number in range(steps):
        run._steps.step()
    assert run.state is RunState.IMPORTING and ui.generateButton.enabled and ui.generateButton.text == "Cancel"
    if end == "cancel":
        ui.generateButton.click()
    else:
        slicer.mrmlScene.Clear(0)
    application.processEvents()
    assert run.state is (RunState.CANCELLED if end == "cancel" else RunState.IDLE)
    assert results() == [] and list(Path(application.temporaryPath).glob("SynthCT-*")) == []
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0


def test_a_run_that_is_cancelled_by_who_hears_that_it_imports_stays_cancelled(
    chest: Any, ui: Any, widget: Any, family: FakeFamily
) -> None:
    from SynthCTModule.ResultNodes import results
    from SynthCTModule.RunState import RunState

    run = widget.logic.workbench.run
    run.stateChanged.connect(lambda state: run.cancel() if state is RunState.IMPORTING else None)
    ui.generateButton.click()
    (process,) = family.running()
    while process.isRunning():
        process.step()
    assert run.state is RunState.CANCELLED and not run._steps.busy and results() == []
