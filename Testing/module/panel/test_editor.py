"""The Segment Editor in the panel leaves the views and the lists of volumes as they are."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def ct(application: Any) -> Any:
    """A CT of the user's, shown in all slice views."""
    import slicer

    from SynthCTModule.GridBox import TEMPLATE_ATTRIBUTE, templateVolume
    from SynthCTModule.VoxelGrid import Grid

    def show() -> Any:
        import numpy as np

        volume = templateVolume(Grid((8, 8, 8), np.eye(4)), "My CT")
        volume.RemoveAttribute(TEMPLATE_ATTRIBUTE)
        for name in slicer.app.layoutManager().sliceViewNames():
            composite(name).SetBackgroundVolumeID(volume.GetID())
        return volume

    return show


def composite(view: str) -> Any:
    """What a slice view shows."""
    import slicer

    return slicer.app.layoutManager().sliceWidget(view).sliceLogic().GetSliceCompositeNode()


def items(selector: Any) -> list[str]:
    """The names that a selector lists."""
    return [selector.itemText(row) for row in range(selector.count)]


def test_a_change_of_a_structure_leaves_the_ct_in_the_views(chest: Any, ui: Any, ct: Any, press: Any) -> None:
    volume = ct()
    ui.structureComboBox.setCurrentIndex(ui.structureComboBox.findData(1))
    press(ui.growButton)
    assert ui.segmentEditorWidget.sourceVolumeNode() is not None
    assert {composite(view).GetBackgroundVolumeID() for view in ("Red", "Yellow", "Green")} == {volume.GetID()}


def test_the_chosen_ct_is_what_the_editors_tools_see(chest: Any, ui: Any, node: Any, ct: Any) -> None:
    node.resultVolume = ct()
    ui.editorGroupBox.collapsed = False
    assert ui.segmentEditorWidget.sourceVolumeNode() is node.resultVolume
    node.resultVolume = None
    assert ui.segmentEditorWidget.sourceVolumeNode().GetName().startswith("Empty grid of")


def test_empty_grids_are_made_once_and_are_no_ct(ui: Any, node: Any, ct: Any) -> None:
    import slicer

    ct()
    ui.templateButton.click()
    assert items(ui.resultSelector)[1:] == items(ui.compareSelector)[1:] == ["My CT"]
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 2


def test_the_views_are_observed_only_while_the_editor_is_open(chest: Any, ui: Any, widget: Any) -> None:
    editor = ui.segmentEditorWidget
    assert not editor.observes_views
    ui.editorGroupBox.collapsed = False
    assert editor.observes_views
    widget.exit()
    assert not editor.observes_views
    widget.enter()
    assert editor.observes_views
    ui.editorGroupBox.collapsed = True
    assert not editor.observes_views


def test_the_editor_works_in_the_next_scene(chest: Any, ui: Any) -> None:
    import slicer

    ui.editorGroupBox.collapsed = False
    slicer.mrmlScene.Clear(0)
    assert ui.segmentEditorWidget.observes_views
    ui.sampleCaseButton.click()
    assert ui.segmentEditorWidget.segmentationNode() is not None
