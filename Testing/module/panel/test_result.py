"""The result of a run in the panel: organ check, windows, rendering, comparison, export, stored settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from Testing.module.bench.fake_worker import FakeFamily


@pytest.fixture
def ct(chest: Any, ui: Any, node: Any, family: FakeFamily) -> Any:
    """The CT of a run with seed 11."""
    node.seed = 11
    ui.generateButton.click()
    family.finish()
    return node.resultVolume


def until(application: Any, condition: Callable[[], bool]) -> None:
    """Let timers run until the condition holds."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        application.processEvents()
        time.sleep(0.01)


def test_the_organ_check_has_a_light_for_each_structure_the_worst_first(
    chest: Any, ui: Any, family: FakeFamily
) -> None:
    sentence = "Trachea: median -663 HU is too high (accepted: -1024 to -700 HU)."
    family.organs = {"Trachea": {"verdict": "high", "median_hu": -663.0, "sentence": sentence}}
    ui.generateButton.click()
    family.finish()
    table = ui.organTable
    assert table.item(0, 0).text() == "Trachea" and table.item(0, 1).text() == "-663"
    assert "too high" in table.item(0, 0).toolTip()
    assert all(not table.item(row, 0).icon().isNull() for row in range(table.rowCount))


def test_a_result_is_not_composed_before_a_click_on_an_organ(
    chest: Any, ui: Any, family: FakeFamily, monkeypatch: pytest.MonkeyPatch
) -> None:
    import SynthCTModule.panels.ResultPanel as resultPanel

    composed: list[Any] = []
    compose = resultPanel.composeSegmentation
    monkeypatch.setattr(resultPanel, "composeSegmentation", lambda mask: composed.append(mask) or compose(mask))
    ui.generateButton.click()
    family.finish()
    assert ui.organTable.rowCount > 0 and composed == []
    ui.organTable.cellClicked.emit(0, 0)
    ui.organTable.cellClicked.emit(1, 0)
    assert len(composed) == 1


def test_a_click_on_an_organ_shows_it_in_the_slices(ct: Any, ui: Any) -> None:
    import slicer

    from SynthCTModule.LabelArray import labelArray
    from SynthCTModule.ResultNodes import results

    row = next(row for row in range(ui.organTable.rowCount) if ui.organTable.item(row, 0).text() == "Liver")
    ui.organTable.cellClicked.emit(row, 0)
    labels, affine = labelArray(results()[0].mask)
    toRas = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed").GetSliceToRAS()
    shown = [toRas.GetElement(axis, 3) for axis in range(3)]
    index = np.rint(np.linalg.inv(affine) @ [*shown, 1])[:3].astype(int)
    assert labels[tuple(index)] == 1


def test_a_case_is_shown_as_its_author_wants(ui: Any, node: Any, family: FakeFamily, application: Any) -> None:
    import slicer

    from SynthCTLib.cases import find_case

    ui.caseComboBox.setCurrentIndex(ui.caseComboBox.findText(find_case("totalseg_s0327_lung_tumor").title))
    ui.loadCaseButton.click()
    assert application.layoutManager().layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    ui.generateButton.click()
    family.finish()
    display = node.resultVolume.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel()) == (1500, -600)
    assert ui.volumeRenderingComboBox.currentText == "CT-Lung"


def test_windows_are_those_of_radiology(ct: Any, ui: Any) -> None:
    shown = {}
    for name in ("Lung", "SoftTissue", "Bone", "Brain"):
        getattr(ui, f"window{name}Button").click()
        shown[name] = (ct.GetDisplayNode().GetWindow(), ct.GetDisplayNode().GetLevel())
    assert shown == {"Lung": (1500, -600), "SoftTissue": (400, 40), "Bone": (1800, 400), "Brain": (80, 40)}


def test_the_ct_is_saved_as_nifti_with_the_same_values_and_position(
    ct: Any, ui: Any, tmp_path: Path, answer: Callable[..., None]
) -> None:
    from SynthCTModule.VoxelGrid import arrayFromImage, volumeGrid

    path = tmp_path / "Ergebnis ä.nii.gz"
    answer(path)
    ui.exportNiftiButton.click()
    image = nib.load(path)
    np.testing.assert_array_equal(np.asarray(image.dataobj), arrayFromImage(ct.GetImageData()))
    np.testing.assert_allclose(image.affine, volumeGrid(ct).affine, atol=1e-4)
    assert "ynthetic" in str(image.header["descrip"])


def test_the_labels_are_saved_as_segmentation(ct: Any, ui: Any, tmp_path: Path, answer: Callable[..., None]) -> None:
    from SynthCTLib.reading import read_segmentation

    path = tmp_path / "labels.seg.nrrd"
    answer(path)
    ui.exportSegmentationButton.click()
    assert {1, 28, 200} <= set(np.unique(read_segmentation(path).volume.array).tolist())


@pytest.mark.parametrize(
    ("button", "ending"), [("exportNiftiButton", ".nii.gz"), ("exportSegmentationButton", ".seg.nrrd")]
)
def test_a_name_without_ending_gets_the_usual_one_and_replaces_nothing_unasked(
    ct: Any, ui: Any, tmp_path: Path, answer: Callable[..., None], monkeypatch: pytest.MonkeyPatch,
    button: str, ending: str,
) -> None:  # fmt: skip
    import slicer

    path, asked = tmp_path / f"Chest 3.5 mm{ending}", []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, *_more: bool(asked.append(text)))
    answer(tmp_path / "Chest 3.5 mm")
    getattr(ui, button).click()
    assert path.stat().st_size > 1000 and not asked
    path.write_bytes(b"mine")
    answer(tmp_path / "Chest 3.5 mm")
    getattr(ui, button).click()
    assert path.name in asked[0] and path.read_bytes() == b"mine"


def test_dicom_is_disabled_with_a_reason_where_slicer_lacks_it(ct: Any, ui: Any) -> None:
    assert not ui.exportDicomButton.enabled
    assert "Create DICOM Series" in ui.exportDicomButton.toolTip
    assert not ui.exportDicomSegButton.enabled
    assert "QuantitativeReporting" in ui.exportDicomSegButton.toolTip


def test_two_volumes_are_compared_in_linked_views(ct: Any, ui: Any, node: Any, application: Any) -> None:
    import slicer

    assert not ui.compareButton.enabled
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Other")
    node.compareVolume = other
    ui.compareButton.click()
    views = [application.layoutManager().sliceWidget(name).sliceLogic() for name in ("Red", "Yellow")]
    composites = [view.GetSliceCompositeNode() for view in views]
    assert [composite.GetBackgroundVolumeID() for composite in composites] == [ct.GetID(), other.GetID()]
    assert all(composite.GetLinkedControl() for composite in composites)
    assert {view.GetSliceNode().GetOrientation() for view in views} == {"Axial"}


def test_settings_of_a_result_are_taken_for_the_next_run(ct: Any, ui: Any, node: Any) -> None:
    node.seed, node.retries, node.customGrid = 99, 3, True
    ui.useSettingsButton.click()
    assert (node.seed, node.retries, node.customGrid) == (11, 0, False)


def test_settings_and_result_are_shown_again_when_the_scene_is_reopened(
    ct: Any, ui: Any, widget: Any, tmp_path: Path, family: FakeFamily
) -> None:
    import slicer

    widget._parameterNode.retries = 4
    scene = slicer.mrmlScene
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(tmp_path / "ct.nrrd"))
    storage.WriteData(ct)
    ct.SetAndObserveStorageNodeID(scene.AddNode(storage).GetID())
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Commit()
    scene.Clear(0)
    assert widget._parameterNode.retries == 0
    assert scene.Connect()
    widget.onSceneEndImport(None, None)
    assert widget._parameterNode.retries == 4
    assert ui.retriesSpinBox.value == 4
    assert widget._parameterNode.resultVolume.GetAttribute("SynthCT.Seed") == "11"
    assert "Seed 11" in ui.resultSummaryLabel.text


def test_a_volume_that_is_no_result_says_so(ui: Any, node: Any) -> None:
    import slicer

    node.resultVolume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Real CT")
    assert "not made by SynthCT" in ui.resultSummaryLabel.text
    assert not ui.organTable.visible
    assert not ui.useSettingsButton.enabled


def test_without_a_result_its_buttons_say_why_they_are_disabled(ui: Any) -> None:
    assert not ui.exportNiftiButton.enabled
    assert ui.exportNiftiButton.toolTip == "There is no CT yet."


def test_the_dicom_segmentation_is_made_of_the_chosen_ct_and_its_mask(
    ct: Any, ui: Any, widget: Any, application: Any, tmp_path: Path, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import SynthCTModule.panels.ResultPanel as panel
    from SynthCTModule.ResultNodes import MASK_ROLE

    asked: list[Any] = []
    monkeypatch.setattr(panel, "segExportReason", lambda: "")

    def export(*given: Any) -> Generator[None, None, None]:
        yield
        asked.extend(given)

    monkeypatch.setattr(panel, "exportSeg", export)
    widget._update()
    answer(tmp_path)
    ui.exportDicomSegButton.click()
    assert not ui.exportDicomSegButton.enabled
    assert "being written" in ui.exportDicomSegButton.toolTip
    assert asked == []
    until(application, lambda: ui.exportDicomSegButton.enabled)
    assert asked == [ct.GetNodeReference(MASK_ROLE), ct, tmp_path, 11]


def test_a_dicom_export_ends_with_the_scene_and_leaves_no_file(
    ct: Any, ui: Any, widget: Any, application: Any, tmp_path: Path, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    import SynthCTModule.panels.ResultPanel as panel

    begun, ended = [], []

    def export(*_given: Any) -> Generator[None, None, None]:
        begun.append("export")
        try:
            while True:
                yield
        finally:
            ended.append("tidied up")

    monkeypatch.setattr(panel, "ctExportReason", lambda: "")
    monkeypatch.setattr(panel, "exportCt", export)
    widget._update()
    answer(tmp_path)
    ui.exportDicomButton.click()
    until(application, lambda: bool(begun))
    slicer.mrmlScene.Clear()
    assert ended == ["tidied up"]
