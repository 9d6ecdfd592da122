"""A control that cannot be used says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from Testing.module.bench.fake_worker import FakeFamily

UI = Path(__file__).resolve().parents[3] / "SynthCT" / "Resources" / "UI" / "SynthCT.ui"
CONTROLS = {"QPushButton", "QToolButton", "QComboBox", "QSpinBox", "QDoubleSpinBox", "QCheckBox"}


def plain_tips() -> dict[str, str]:
    """What each control's tooltip says while the control can be used."""
    widgets = (one for one in ElementTree.parse(UI).getroot().iter("widget") if one.get("class") in CONTROLS)
    return {str(one.get("name")): "".join(one.find("property[@name='toolTip']").itertext()).strip() for one in widgets}


def unexplained(ui: Any) -> set[str]:
    """Controls that are gray without a reason."""
    controls = {name: getattr(ui, name) for name in plain_tips()}
    return {name for name, tip in plain_tips().items() if not controls[name].enabled and controls[name].toolTip == tip}


def gray(ui: Any) -> set[str]:
    return {name for name in plain_tips() if not getattr(ui, name).enabled}


def test_in_an_empty_scene_gray_controls_say_why(ui: Any) -> None:
    assert {"generateButton", "checkButton", "windowLungButton", "useSettingsButton"} <= gray(ui)
    assert unexplained(ui) == set()


def test_with_an_anatomy_and_while_a_run_goes_on_gray_controls_say_why(chest: Any, ui: Any, family: FakeFamily) -> None:
    assert "addLabelButton" in gray(ui)
    assert unexplained(ui) == set()
    ui.generateButton.click()
    family.running()[0].step(5)
    assert "pairButton" in gray(ui)
    assert unexplained(ui) == set()


def test_with_a_ct_and_a_model_of_another_computer_gray_controls_say_why(
    chest: Any, ui: Any, node: Any, family: FakeFamily
) -> None:
    ui.generateButton.click()
    family.finish()
    assert "exportDicomSegButton" in gray(ui)
    assert unexplained(ui) == set()
    node.modelId = "of another computer"
    assert {"generateButton", "downloadModelButton"} <= gray(ui) and ui.importModelButton.enabled
    assert unexplained(ui) == set()


def test_a_slicer_without_parts_disables_what_needs_them_with_a_reason_and_nothing_else(
    chest: Any, ui: Any, widget: Any, family: FakeFamily, monkeypatch: Any
) -> None:
    import slicer

    ui.generateButton.click()
    family.finish()
    before = gray(ui)
    monkeypatch.delattr(slicer.modules, "volumerendering")
    widget._update()
    assert gray(ui) - before == {"volumeRenderingButton"}
    assert "Volume Rendering" in ui.volumeRenderingButton.toolTip
    assert "Create DICOM Series" in ui.exportDicomButton.toolTip
