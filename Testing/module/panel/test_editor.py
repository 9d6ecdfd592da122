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


def test_an_active_effect_is_put_away_when_nobody_sees_the_editor(chest: Any, ui: Any, widget: Any) -> None:
    editor = ui.segmentEditorWidget
    ui.editorGroupBox.collapsed = False
    for hide in (lambda: setattr(ui.editorGroupBox, "collapsed", True), widget.exit):
        editor.setActiveEffectByName("Paint")
        hide()
        assert editor.mrmlSegmentEditorNode().GetActiveEffectName() == ""


def test_nothing_is_given_to_the_editor_before_it_is_used(chest: Any, ui: Any) -> None:
    assert ui.segmentEditorWidget.mrmlScene() is None
    assert ui.segmentEditorWidget.mrmlSegmentEditorNode() is None


def test_the_editor_edits_the_chosen_segmentation_and_not_the_first_of_the_scene(
    chest: Any, ui: Any, node: Any
) -> None:
    import slicer

    ui.editorGroupBox.collapsed = False
    ui.sampleCaseButton.click()
    assert node.inputNode is not chest
    assert ui.segmentEditorWidget.mrmlSegmentEditorNode().GetSegmentationNode() is node.inputNode
    assert slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode") is chest


def test_a_label_map_has_no_state_that_could_be_undone(chest: Any, ui: Any, node: Any, widget: Any) -> None:
    import slicer

    node.inputNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    widget.logic.workbench.anatomyWillChange.emit()
    assert ui.segmentEditorWidget.undo_states == 0


@pytest.mark.parametrize("entered", [True, False])
def test_the_editor_works_in_the_next_scene(chest: Any, ui: Any, widget: Any, entered: bool) -> None:
    import slicer

    ui.editorGroupBox.collapsed = False
    if not entered:
        widget.parent.isEntered = False
        widget.exit()
    slicer.mrmlScene.Clear(0)
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    if not entered:
        widget.parent.isEntered = True
        widget.enter()
    ui.sampleCaseButton.click()
    state = ui.segmentEditorWidget.mrmlSegmentEditorNode()
    assert state.GetSegmentationNode() is widget._parameterNode.inputNode


def test_a_state_that_was_removed_from_the_scene_is_made_anew(chest: Any, ui: Any) -> None:
    import slicer

    ui.editorGroupBox.collapsed = False
    slicer.mrmlScene.RemoveNode(ui.segmentEditorWidget.mrmlSegmentEditorNode())
    ui.sampleCaseButton.click()
    assert ui.segmentEditorWidget.mrmlSegmentEditorNode().GetScene() is slicer.mrmlScene


def test_a_module_that_goes_leaves_the_state_to_its_successor(chest: Any, ui: Any, widget: Any) -> None:
    ui.editorGroupBox.collapsed = False
    widget.cleanup()
    assert ui.segmentEditorWidget.mrmlSegmentEditorNode() is None
    assert ui.segmentEditorWidget.mrmlScene() is None
