"""What is left of the module when the scene is closed, another one is opened, or the module goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from Testing.module.bench.fake_worker import FakeFamily


def add_body(ui: Any) -> None:
    """Let the engine make a body envelope."""
    ui.checkButton.click()
    buttons = [ui.problemTable.cellWidget(row, 1) for row in range(ui.problemTable.rowCount)]
    next(button for button in buttons if button is not None and button.text == "Add body").click()


def left_behind(application: Any) -> list[Path]:
    """Folders of the module among Slicer's temporary files."""
    return list(Path(application.temporaryPath).glob("SynthCT-*"))


def test_a_preparation_leaves_no_file(chest: Any, ui: Any, family: FakeFamily, application: Any) -> None:
    add_body(ui)
    assert len(left_behind(application)) == 1
    family.finish()
    assert left_behind(application) == []


def test_closing_the_scene_during_a_preparation_leaves_no_file(
    chest: Any, ui: Any, family: FakeFamily, application: Any
) -> None:
    import slicer

    add_body(ui)
    slicer.mrmlScene.Clear(0)
    assert left_behind(application) == []
    family.finish()
    assert left_behind(application) == []


def test_a_module_that_goes_ends_every_process(widget: Any, ui: Any, family: FakeFamily) -> None:
    told: list[Any] = []
    workbench = widget.logic.workbench
    workbench.models.refresh()
    workbench.setup.refresh()
    assert len(family.running()) == 2
    for signal in (workbench.models.changed, workbench.setup.changed, workbench.runStateChanged):
        signal.connect(lambda *values: told.append(values))
    widget.cleanup()
    assert [process._lines for process in family.running()] == [[], []]  # killed: they have nothing more to say
    family.finish()
    assert told == []


def test_opening_a_scene_leaves_a_quiz_and_closing_it_ends_it(chest: Any, ui: Any, widget: Any) -> None:
    import slicer

    from SynthCTModule.panels.QuizPanel import QuizPanel

    panel = next(panel for panel in widget.panels if isinstance(panel, QuizPanel))
    ui.quizComboBox.setCurrentIndex(ui.quizComboBox.findData("name"))
    ui.startQuizButton.click()
    slicer.mrmlScene.StartState(slicer.vtkMRMLScene.ImportState)
    slicer.mrmlScene.EndState(slicer.vtkMRMLScene.ImportState)
    assert panel._quiz is not None
    slicer.mrmlScene.Clear(0)
    assert panel._quiz is None


def test_a_module_whose_setup_has_failed_can_be_closed(application: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer

    import SynthCT

    parent = slicer.qMRMLWidget()
    made = SynthCT.SynthCTWidget(parent)
    monkeypatch.setattr(slicer.util, "loadUI", lambda _path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        made.setup()
    made.cleanup()
