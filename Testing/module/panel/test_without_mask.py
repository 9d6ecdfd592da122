"""A model that takes no segmentation (Medical Diffusion family) in the panel, sampled by the real engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from Testing.library.maskless_samples import MR, write_exported
from Testing.module.bench.fake_worker import FakeFamily

MODEL = "tiny-volumes"


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of models."""
    folder = tmp_path / "Modelle"
    monkeypatch.setenv("SYNTHCT_MODELS", str(folder))
    return folder


@pytest.fixture
def maskless(
    models: Path, widget: Any, ui: Any, family: FakeFamily, tmp_path: Path, answer: Callable[..., None]
) -> str:
    """The model, imported and chosen with the panel's button."""
    answer(*write_exported(tmp_path / "exported"), tmp_path / "exported" / "card.json")
    ui.importModelButton.click()
    family.finish()
    return MODEL


@pytest.fixture
def image(maskless: str, ui: Any, node: Any, family: FakeFamily) -> Any:
    """A volume of the model with seed 5."""
    node.seed = 5
    ui.generateButton.click()
    family.finish()
    return node.resultVolume


def test_a_model_with_its_own_card_is_imported_and_chosen(maskless: str, ui: Any, node: Any, models: Path) -> None:
    assert node.modelId == maskless == ui.modelComboBox.currentData
    assert ui.modelStatusLabel.text.startswith("Ready")
    assert {path.name for path in (models / maskless).iterdir()} >= {"card.json", "vqgan.safetensors"}


def test_the_panel_says_that_no_segmentation_is_needed_and_what_the_card_decides(maskless: str, ui: Any) -> None:
    assert ui.noMaskLabel.visible
    assert "takes no segmentation" in ui.noMaskLabel.text and "makes CT images of: Head" in ui.noMaskLabel.text
    assert ui.fieldOfViewLabel.text == "8 × 16 × 24 voxels of 5 × 2 × 3 mm\n40 × 32 × 72 mm in all"
    for name in ("regionComboBox", "customGridCheckBox", "guidanceSpinBox", "retriesSpinBox", "inputGridCheckBox"):
        control = getattr(ui, name)
        assert not control.enabled and "chosen model" in control.toolTip
    assert ui.generateButton.enabled, ui.generateButton.toolTip
    assert "without" not in ui.missingLabel.text


def test_another_model_takes_segmentations_again(maskless: str, ui: Any) -> None:
    ui.modelComboBox.setCurrentIndex(0)
    assert not ui.noMaskLabel.visible and ui.regionComboBox.enabled and ui.retriesSpinBox.enabled
    assert "Choose an anatomy" in ui.generateButton.toolTip


def test_an_anatomy_and_its_settings_are_left_out_of_the_job(
    maskless: str, chest: Any, ui: Any, node: Any, family: FakeFamily
) -> None:
    ui.modelComboBox.setCurrentIndex(ui.modelComboBox.findData(maskless))
    node.customGrid, node.retries, node.count, node.seed = True, 3, 2, 8
    ui.deviceComboBox.setCurrentIndex(1)
    ui.generateButton.click()
    (job,) = family.jobs
    assert not {"mask", "labels", "region", "size", "spacing", "guidance"} & set(job)
    assert (job["model"], job["retries"], job["count"], job["seed"], job["device"]) == (maskless, 0, 2, 8, "cpu")


def test_several_volumes_lie_in_the_scene_named_after_the_model_with_window_and_settings(
    maskless: str, ui: Any, node: Any, family: FakeFamily, application: Any
) -> None:
    from SynthCTModule.ResultNodes import results, storedSettings

    node.count, node.seed = 2, 8
    ui.generateButton.click()
    family.finish()
    assert "Done" in ui.messageLabel.text
    made = results()
    assert [nodes.ct.GetName() for nodes in made] == ["tiny-volumes CT", "tiny-volumes CT_1"]
    assert [nodes.mask for nodes in made] == [None, None]
    assert [storedSettings(nodes.ct)["seed"] for nodes in made] == [8, 9]
    assert storedSettings(made[0].ct)["model"] == maskless
    assert made[0].ct.GetDisplayNode().GetWindow() == 80.0  # the brain's, as for any CT of the head
    assert node.resultVolume is made[1].ct
    assert not list(Path(application.temporaryPath).glob("SynthCT-run*"))


def test_the_first_run_tells_how_long_the_next_will_take(
    maskless: str, ui: Any, node: Any, family: FakeFamily, caplog: pytest.LogCaptureFixture
) -> None:
    assert "after the first run" in ui.estimateLabel.text
    ui.generateButton.click()
    family.finish()
    node.count = 2
    assert ui.estimateLabel.text.startswith("about ") and "from your own runs" in ui.estimateLabel.text
    assert caplog.records == []


def test_there_is_no_organ_check_and_no_label_map_with_a_reason(image: Any, ui: Any) -> None:
    assert not ui.organTable.visible
    assert "no organ could be checked" in ui.resultSummaryLabel.text
    assert not ui.exportSegmentationButton.enabled
    assert "no label map" in ui.exportSegmentationButton.toolTip


def test_a_quiz_never_asks_about_a_volume_with_the_labels_of_another_anatomy(image: Any, chest: Any, ui: Any) -> None:
    assert not ui.startQuizButton.enabled
    assert "no label map" in ui.startQuizButton.toolTip


def test_a_pair_with_and_without_a_lesion_needs_a_model_that_takes_segmentations(
    maskless: str, chest: Any, ui: Any
) -> None:
    assert not ui.pairButton.enabled
    assert "takes no segmentation" in ui.pairButton.toolTip


def test_its_settings_come_back_and_student_mode_hides_its_name(
    image: Any, ui: Any, node: Any, family: FakeFamily
) -> None:
    node.modelId, node.seed = "synthct-embedded-v1", 1
    ui.useSettingsButton.click()
    assert (node.modelId, node.seed) == (MODEL, 5)
    ui.studentModeCheckBox.checked = True
    ui.generateButton.click()
    family.finish()
    assert node.resultVolume.GetName() == "CT"


def test_an_mr_image_has_a_window_of_its_own_and_no_windows_in_hu(
    models: Path, widget: Any, ui: Any, node: Any, family: FakeFamily, tmp_path: Path
) -> None:
    import numpy as np

    from SynthCTModule.VoxelGrid import arrayFromImage

    widget.logic.workbench.models.importFiles(
        "", [*write_exported(tmp_path / "mr", **MR), tmp_path / "mr" / "card.json"]
    )
    family.finish()
    node.modelId = MODEL
    assert "MR images" in ui.noMaskLabel.text
    ui.generateButton.click()
    family.finish()
    volume = node.resultVolume
    low, high = np.percentile(arrayFromImage(volume.GetImageData()), [0.1, 99.9])
    display = volume.GetDisplayNode()
    assert volume.GetName() == "tiny-volumes MR"
    assert display.GetAutoWindowLevel() and 0 < display.GetWindow() <= 1.2 * (high - low)
    assert not ui.windowLungButton.enabled and "HU" in ui.windowLungButton.toolTip
    assert ui.volumeRenderingComboBox.itemText(0) == "MR-Default"


def test_a_script_gets_volumes_without_a_segmentation(maskless: str, widget: Any) -> None:
    results = widget.logic.process(model=maskless, seed=3, count=2, waitForCompletion=True)
    assert [nodes.mask for nodes in results] == [None, None]
    assert results[0].ct.GetImageData().GetDimensions() == (8, 16, 24)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"region": "chest", "retries": 2}, "leave out: region, retries"),
        ({"guidance": 1.0}, "leave out: guidance"),
        ({"steps": 301}, "from 1 to 300"),
        ({"solver": "euler"}, "does not fit the model"),
    ],
)
def test_a_script_is_told_what_the_model_has_no_use_for(
    maskless: str, widget: Any, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(RuntimeError, match=said):
        widget.logic.process(model=maskless, **settings)


def test_a_script_that_mixes_both_kinds_is_told(maskless: str, chest: Any, widget: Any) -> None:
    with pytest.raises(RuntimeError, match="takes no segmentation; leave it out"):
        widget.logic.process(chest, model=maskless)
    with pytest.raises(RuntimeError, match="Choose an anatomy"):
        widget.logic.process()


def test_a_volume_node_that_gets_an_image_without_mask_keeps_nothing_of_the_earlier_one(
    maskless: str, chest: Any, widget: Any, ui: Any
) -> None:
    from SynthCTModule.ResultNodes import MASK_ROLE

    volume = widget.logic.process(chest, waitForCompletion=True)[0].ct
    volume.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    assert volume.GetNodeReference(MASK_ROLE) is not None
    (result,) = widget.logic.process(None, volume, model=maskless, waitForCompletion=True)
    assert result.ct is volume and result.mask is None
    assert volume.GetNodeReference(MASK_ROLE) is None
    assert volume.GetAttribute("DICOM.instanceUIDs") is None


def test_a_card_that_cannot_be_used_is_told_in_the_section(
    models: Path, widget: Any, ui: Any, family: FakeFamily
) -> None:
    (models / "broken").mkdir(parents=True)
    (models / "broken" / "card.json").write_text(json.dumps({"id": "broken"}), encoding="utf-8")
    widget.logic.workbench.models.refresh()
    family.finish()
    assert ui.modelWarningLabel.visible
    assert "is not valid" in ui.modelWarningLabel.text and "broken" in ui.modelWarningLabel.text
