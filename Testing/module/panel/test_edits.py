"""While an edit of the anatomy is going on: what waits for it, what is left out, and how it ends with the scene."""

from __future__ import annotations

import gc
import importlib
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from Testing.module.bench.fake_worker import FakeFamily

Press = Callable[[Any], None]


def choose_structure(ui: Any, label_id: int) -> None:
    """Choose a structure for the buttons below the list."""
    ui.structureComboBox.setCurrentIndex(ui.structureComboBox.findData(label_id))


def fix_button(ui: Any) -> Any:
    """The button that lets the engine make a body envelope."""
    answers = [ui.problemTable.cellWidget(row, 1) for row in range(ui.problemTable.rowCount)]
    return next(answer for answer in answers if answer is not None and answer.text == "Add body")


def test_while_an_organ_grows_the_buttons_wait_and_no_run_starts(
    chest: Any, ui: Any, widget: Any, press: Press
) -> None:
    choose_structure(ui, 1)
    ui.growButton.click()
    assert not ui.shrinkButton.enabled and "being changed" in ui.shrinkButton.toolTip
    assert not ui.generateButton.enabled and "being changed" in ui.generateButton.toolTip
    with pytest.raises(RuntimeError, match="being changed"):
        widget.logic.process(chest)
    press(ui.shrinkButton)
    assert ui.shrinkButton.enabled and ui.generateButton.enabled


def test_drawing_while_an_organ_grows_is_kept_and_the_edit_left_out(
    chest: Any, ui: Any, application: Any, press: Press, shown_errors: list[str]
) -> None:
    from SynthCTModule.SelfTest import labelVoxels

    choose_structure(ui, 1)
    ui.growButton.click()
    time.sleep(0.02)
    application.processEvents()  # the first step: what the edit begins with is copied
    chest.GetSegmentation().ClearSegment("liver")
    press(ui.growButton)
    assert len(shown_errors) == 1 and "changed meanwhile" in shown_errors[0]
    assert 1 not in labelVoxels(chest)


@pytest.mark.parametrize("function", ["SynthCTModule.AnatomySnapshot.paintLayers", "SynthCTLib.growth.grow_organ"])
def test_an_edit_ends_with_the_scene_whose_nodes_its_thread_does_not_hold(
    function: str, ui: Any, node: Any, widget: Any, monkeypatch: pytest.MonkeyPatch, shown_errors: list[str]
) -> None:
    import slicer

    ui.editGroupBox.collapsed = False
    computing, go_on = threading.Event(), threading.Event()
    module, _dot, name = function.rpartition(".")
    original = getattr(importlib.import_module(module), name)

    def wait(*arguments: Any, **options: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            computing.set()
            go_on.wait(60)
        return original(*arguments, **options)

    ui.sampleCaseButton.click()
    choose_structure(ui, 1)
    deleted: list[str] = []
    node.inputNode.AddObserver("DeleteEvent", lambda *_event: deleted.append(threading.current_thread().name))
    monkeypatch.setattr(function, wait)
    ui.growButton.click()
    edits = widget.logic.workbench.edits
    while edits.busy and not computing.is_set():
        edits.step()
    assert edits.busy and ui.editResultLabel.text == "Working…" and not ui.editResultLabel.isHidden()
    try:
        slicer.mrmlScene.Clear(0)
        gc.collect()
        assert deleted == [threading.main_thread().name]
    finally:
        go_on.set()
    assert not edits.busy and shown_errors == []
    assert "being changed" not in ui.generateButton.toolTip
    assert ui.editResultLabel.text == "" and ui.editResultLabel.isHidden()


def test_an_edit_that_does_not_begin_is_not_said_to_go_on(
    chest: Any, ui: Any, widget: Any, shown_errors: list[str]
) -> None:
    def refuse() -> None:
        raise RuntimeError("no")

    ui.editGroupBox.collapsed = False
    choose_structure(ui, 1)
    widget.logic.workbench.anatomyWillChange.connect(refuse)
    ui.growButton.click()
    assert shown_errors == ["no"] and ui.editResultLabel.text == ""


def test_an_edit_that_is_refused_leaves_no_copy_of_the_voxels(
    chest: Any, ui: Any, press: Press, monkeypatch: pytest.MonkeyPatch, shown_errors: list[str]
) -> None:
    from SynthCTModule import AnatomyEdits

    copies: list[weakref.ref] = []
    original = AnatomyEdits.snapshot

    def snapshot(node: Any) -> Any:
        taken = original(node)
        copies.extend(weakref.ref(layer.array) for layer in taken.voxels.layers)
        return taken

    monkeypatch.setattr(AnatomyEdits, "snapshot", snapshot)
    ui.lesionSizeSpinBox.value = 120
    gc.collect()
    gc.disable()
    try:
        press(ui.lesionButton)
        assert len(shown_errors) == 1 and copies and all(copy() is None for copy in copies)
    finally:
        gc.enable()


def test_problems_are_not_solved_while_an_organ_grows(
    chest: Any, ui: Any, widget: Any, press: Press, family: FakeFamily
) -> None:
    from SynthCTModule.SegmentationCheck import RESAMPLE, Problem

    ui.checkButton.click()
    button, tip = fix_button(ui), fix_button(ui).toolTip
    choose_structure(ui, 1)
    ui.growButton.click()
    assert not button.enabled and "being changed" in button.toolTip
    ui.checkButton.click()
    assert not fix_button(ui).enabled
    with pytest.raises(RuntimeError, match="being changed"):
        widget.logic.workbench.fix(Problem("error", "", fix=RESAMPLE), chest, None, "", lambda *_given: None)
    assert family.running() == []
    press(ui.shrinkButton)
    ui.checkButton.click()
    assert fix_button(ui).enabled and fix_button(ui).toolTip == tip


@pytest.mark.parametrize("end", ["finish", "close"])
def test_no_organ_grows_while_the_engine_solves_a_problem(
    end: str, chest: Any, ui: Any, widget: Any, family: FakeFamily
) -> None:
    import slicer

    ui.checkButton.click()
    fix_button(ui).click()
    assert not ui.growButton.enabled and "being prepared" in ui.growButton.toolTip
    with pytest.raises(RuntimeError, match="being prepared"):
        widget.logic.workbench.edit(iter(()), lambda _error: None)
    if end == "finish":
        family.finish()
    else:
        slicer.mrmlScene.Clear(0)
        ui.sampleCaseButton.click()
    assert ui.growButton.enabled and "being prepared" not in ui.growButton.toolTip


@pytest.mark.parametrize("error", [ValueError("no body"), OSError("disk gone")])
def test_a_prepared_mask_that_cannot_be_used_becomes_a_sentence_and_the_buttons_come_back(
    error: Exception, chest: Any, ui: Any, family: FakeFamily, monkeypatch: pytest.MonkeyPatch, shown_errors: list[str]
) -> None:
    def fails(*_given: Any) -> None:
        raise error

    monkeypatch.setattr("SynthCTModule.BodyEnvelope.addBody", fails)
    ui.checkButton.click()
    fix_button(ui).click()
    family.finish()
    assert len(shown_errors) == 1 and str(error) in shown_errors[0]
    assert ui.growButton.enabled and fix_button(ui).enabled
