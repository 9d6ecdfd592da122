"""Region, grid, model and setup in the panel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from Testing.module.bench.fake_worker import FakeFamily


def boxes() -> list[Any]:
    """The boxes of the field of view in the scene."""
    import slicer

    scene = slicer.mrmlScene
    count = scene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode")
    return [scene.GetNthNodeByClass(index, "vtkMRMLMarkupsROINode") for index in range(count)]


def choose_model(ui: Any, model: str) -> None:
    """Choose a model in its list."""
    ui.modelComboBox.setCurrentIndex(ui.modelComboBox.findData(model))


def test_time_and_memory_are_said_before_the_first_run(chest: Any, ui: Any) -> None:
    assert "GB" in ui.estimateLabel.text and "about" in ui.estimateLabel.text
    assert ui.fieldOfViewLabel.text.startswith("128 × 128 × 96 voxels")


def test_the_field_of_view_is_a_box_that_comes_goes_and_follows(chest: Any, ui: Any) -> None:
    ui.showGridBoxCheckBox.checked = True
    (box,) = boxes()
    before = box.GetSize()
    ui.customGridCheckBox.checked = True
    ui.sizeZComboBox.setCurrentIndex(ui.sizeZComboBox.findData(48))
    assert boxes() == [box]
    assert box.GetSize() != before
    ui.showGridBoxCheckBox.checked = False
    assert boxes() == []


def test_sizes_are_those_that_the_model_allows(ui: Any, node: Any) -> None:
    ui.customGridCheckBox.checked = True
    assert ui.customGridWidget.visible
    assert ui.sizeXComboBox.count == 10
    choose_model(ui, "nv-generate-ct-rflow")
    sizes = [ui.sizeXComboBox.itemText(row) for row in range(ui.sizeXComboBox.count)]
    assert sizes == ["256", "384", "512"]
    assert not ui.sizeYComboBox.enabled
    ui.sizeXComboBox.setCurrentIndex(1)
    assert (node.sizeX, node.sizeY) == (384, 384)
    assert "0.5–3.0 mm" in ui.gridRulesLabel.text


def test_sizes_and_spacings_that_nobody_has_chosen_are_those_of_the_model(ui: Any, node: Any, chest: Any) -> None:
    from SynthCTModule.Cards import shippedCards

    default = next(card for card in shippedCards() if card.id == node.modelId).grid["defaults"]["*"]
    assert [node.sizeX, node.sizeY, node.sizeZ] == default["size"]
    assert [node.spacingInPlane, node.spacingInPlane, node.spacingSlice] == default["spacing"]
    ui.customGridCheckBox.checked = True
    ui.spacingSliceSpinBox.value = 4.5
    assert node.spacingSlice == 4.5
    ui.spacingSliceSpinBox.value = 0
    assert node.spacingSlice == default["spacing"][2]


@pytest.mark.parametrize(
    ("box", "name"),
    [
        ("spacingInPlaneSpinBox", "spacingInPlane"),
        ("spacingSliceSpinBox", "spacingSlice"),
        ("temperatureSpinBox", "temperature"),
        ("guidanceSpinBox", "guidance"),
    ],
)
def test_a_number_below_one_can_be_typed(ui: Any, node: Any, box: str, name: str) -> None:
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    ui.customGridCheckBox.checked = True
    spin_box = getattr(ui, box)
    spin_box.selectAll()
    for key in "0.8":
        QTest.keyClicks(spin_box, key)
    QTest.keyClick(spin_box, Qt.Key.Key_Return)
    assert (spin_box.value, getattr(node, name)) == (0.8, 0.8)


def test_without_the_panel_no_size_and_no_spacing_are_left_to_the_model() -> None:
    from types import SimpleNamespace

    from SynthCTModule.PanelSettings import caseSettings

    choice = SimpleNamespace(value="best")
    node = SimpleNamespace(
        customGrid=True, sizeX=128, sizeY=128, sizeZ=0, spacingInPlane=0.0, spacingSlice=2.5, seed=1, preset=choice
    )
    assert caseSettings(node) == {"seed": 1, "preset": "best"}
    node.sizeZ, node.spacingInPlane = 96, 0.8
    assert caseSettings(node) == {"seed": 1, "preset": "best", "size": [128, 128, 96], "spacing": [0.8, 0.8, 2.5]}


def test_a_grid_that_cuts_nothing_is_planned_for_the_region(chest: Any, ui: Any, node: Any) -> None:
    automatic = ui.fieldOfViewLabel.text
    ui.regionComboBox.setCurrentIndex(ui.regionComboBox.findText("Chest"))
    assert node.region.value == "chest"
    assert ui.fieldOfViewLabel.text == automatic  # the embedded model has one default for all regions


def test_what_the_user_leaves_alone_is_left_to_the_model(chest: Any, ui: Any, family: FakeFamily) -> None:
    assert ui.temperatureSpinBox.text == ui.guidanceSpinBox.text == "as the model says"
    assert ui.samplingLabel.text.startswith("13 steps (ab2), temperature 0.")
    ui.generateButton.click()
    assert not {"temperature", "guidance", "steps", "size"} & set(family.jobs[0])


def test_guidance_and_temperature_of_the_user_win(chest: Any, ui: Any, family: FakeFamily) -> None:
    ui.guidanceSpinBox.value = 0
    ui.temperatureSpinBox.value = 0.9
    ui.stepsSpinBox.value = 12
    ui.generateButton.click()
    job = family.jobs[0]
    assert (job["guidance"], job["temperature"], job["steps"]) == (0, 0.9, 12)


def test_the_embedded_model_is_ready_and_cannot_be_removed(ui: Any) -> None:
    assert "comes with SynthCT" in ui.modelStatusLabel.text
    assert "Apache-2.0" in ui.modelLicenceLabel.text
    assert not ui.removeModelButton.enabled
    assert "embedded" in ui.removeModelButton.toolTip


def test_a_download_asks_for_the_licence_first(ui: Any, family: FakeFamily, monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer

    asked: list[str] = []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, *_more: bool(asked.append(text)))
    choose_model(ui, "nv-generate-ct-rflow")
    ui.downloadModelButton.click()
    assert "NVIDIA Open Model License" in asked[0]
    assert family.running() == []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_more: True)
    ui.downloadModelButton.click()
    assert "--accept-licence" in family.running()[0].arguments
    assert ui.downloadModelButton.text == "Cancel"
    family.finish()
    assert ui.downloadModelButton.text == "Download"


def test_the_folder_of_the_model_is_opened(ui: Any, application: Any) -> None:
    import qt

    qt.QDesktopServices.opened.clear()
    ui.openModelFolderButton.click()
    assert qt.QDesktopServices.opened[0].endswith("synthct-embedded-v2")


def test_setup_is_collapsed_when_all_is_there_and_names_the_device(ui: Any) -> None:
    assert ui.setupCollapsibleButton.collapsed
    assert ui.setupCollapsibleButton.text == "Setup: ready"
    layout = ui.setupRowsWidget.layout()
    texts = [layout.itemAtPosition(row, 1).widget().text for row in range(5)]
    assert any("GB free on cpu" in text for text in texts)


def test_setup_opens_and_offers_to_install_what_is_missing(
    ui: Any, widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import SynthCTModule.Setup as setup
    from SynthCTModule.Installer import SlicerInstaller

    setup_of_workbench = widget.logic.workbench.setup
    monkeypatch.setattr(SlicerInstaller, "pyTorchReason", lambda _self: "")
    monkeypatch.setattr(setup, "_version", lambda _name: None)
    setup_of_workbench.changed.emit()
    assert not ui.setupCollapsibleButton.collapsed
    layout = ui.setupRowsWidget.layout()
    assert layout.itemAtPosition(0, 2).widget().text == "Install"
    assert not ui.generateButton.enabled
    assert "PyTorch" in ui.generateButton.toolTip


def test_the_bounds_of_a_missing_package_are_read_and_not_taken_for_html(
    ui: Any, widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PySide6.QtGui import QTextDocumentFragment

    import SynthCTModule.Setup as setup

    monkeypatch.setattr(setup, "_version", lambda name: None if name == "monai" else "99")
    widget.logic.workbench.setup.refresh()
    text = ui.setupRowsWidget.layout().itemAtPosition(1, 1).widget().text
    assert QTextDocumentFragment.fromHtml(text).toPlainText() == "Python packages To install: monai<2,>=1.5"


def test_models_are_looked_at_as_soon_as_the_setup_is_complete(
    application: Any, family: FakeFamily, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import SynthCTModule.Setup as setup
    from Testing.module.bench.install import make_widget

    application.start_over(tmp_path)
    known = setup._version
    monkeypatch.setattr(setup, "_version", lambda name: None if name == "monai" else known(name))
    widget = make_widget(family)
    family.finish()
    choose_model(widget.ui, "nv-generate-ct-rflow")
    assert "Not looked at yet" in widget.ui.modelStatusLabel.text
    monkeypatch.setattr(setup, "_version", known)
    widget.logic.workbench.setup.refresh()
    family.finish()
    assert "Not on this computer" in widget.ui.modelStatusLabel.text
    widget.logic.workbench.setup.refresh()
    assert not any("models" in process.arguments for process in family.running()), "looked at once only"
    family.finish()
    widget.parent.isEntered = False
    widget.cleanup()
    widget.parent.deleteLater()
