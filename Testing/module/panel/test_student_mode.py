"""Student mode: what would give the answer away is hidden, and comes back."""

from __future__ import annotations

from typing import Any

import pytest

from Testing.module.bench.fake_worker import FakeFamily


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


class CornerAnnotations:
    """Slicer's texts in the corners of the slice views, as DataProbe has them."""

    sliceViewAnnotationsEnabled = 1
    updates = 0

    def updateSliceViewFromGUI(self) -> None:
        """Writes the texts again."""
        self.updates += 1


@pytest.fixture
def corners(application: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Slice views with a text in a corner, and what has written it."""
    import types

    import slicer
    import vtk

    written = {name: vtk.vtkCornerAnnotation() for name in application.layoutManager().sliceViewNames()}
    for text in written.values():
        text.SetText(2, "Chest with a mass CT")
    view = types.SimpleNamespace
    widgets = {
        name: view(cornerAnnotation=lambda text=text: text, scheduleRender=lambda: None)
        for name, text in written.items()
    }
    widget_class = type(application.layoutManager().sliceWidget("Red"))
    monkeypatch.setattr(widget_class, "sliceView", lambda self: widgets[self.mrmlSliceNode().GetName()], raising=False)
    annotations = CornerAnnotations()
    probe = view(infoWidget=view(sliceAnnotations=annotations))
    monkeypatch.setattr(slicer.modules, "DataProbeInstance", probe, raising=False)
    return view(annotations=annotations, texts=lambda: {text.GetText(2) or "" for text in written.values()})


def test_student_mode_takes_names_out_of_the_corners_of_the_views(chest: Any, ui: Any, corners: Any) -> None:
    ui.studentModeCheckBox.checked = True
    assert corners.annotations.sliceViewAnnotationsEnabled == 0
    assert corners.texts() == {""}
    ui.studentModeCheckBox.checked = False
    assert corners.annotations.sliceViewAnnotationsEnabled == 1
    assert corners.annotations.updates == 1


def test_texts_in_the_corners_stay_off_where_the_user_had_them_off(chest: Any, ui: Any, corners: Any) -> None:
    corners.annotations.sliceViewAnnotationsEnabled = 0
    ui.studentModeCheckBox.checked = True
    ui.studentModeCheckBox.checked = False
    assert corners.annotations.sliceViewAnnotationsEnabled == 0


def test_student_mode_hides_case_structures_and_the_names_of_results(chest: Any, ui: Any, family: FakeFamily) -> None:
    from SynthCTModule.ResultNodes import results

    named = ("anatomyCollapsibleButton", "resultSelector", "compareSelector", "logGroupBox")
    ui.studentModeCheckBox.checked = True
    assert all(getattr(ui, name).isHidden() for name in named)
    ui.generateButton.click()
    family.finish()
    result = results()[0]
    assert (result.ct.GetName(), result.mask.GetName()) == ("CT", "Mask")
    assert chest.GetName() not in ui.resultSummaryLabel.text + ui.messageLabel.text
    ui.studentModeCheckBox.checked = False
    assert not any(getattr(ui, name).isHidden() for name in named)


def test_closing_the_scene_ends_student_mode(chest: Any, ui: Any, widget: Any, corners: Any) -> None:
    import slicer

    ui.studentModeCheckBox.checked = True
    widget.parent.isEntered = False
    slicer.mrmlScene.Clear(0)
    assert corners.annotations.sliceViewAnnotationsEnabled == 1
    assert not ui.anatomyCollapsibleButton.isHidden()
