"""The same anatomy with and without a lesion."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from Testing.module.bench.fake_worker import FakeFamily


def test_a_pair_is_made_with_one_seed_and_shown_in_linked_views(
    lesion: Any, ui: Any, node: Any, family: FakeFamily, application: Any
) -> None:
    from SynthCTModule.ResultNodes import results
    from SynthCTModule.SelfTest import labelVoxels

    node.seed = 5
    ui.pairButton.click()
    family.finish()
    application.processEvents()
    family.finish()
    assert [job["seed"] for job in family.jobs] == [5, 5]
    first, second = results()
    assert 23 in labelVoxels(first.mask) and 23 not in labelVoxels(second.mask)
    views = [application.layoutManager().sliceWidget(name).sliceLogic() for name in ("Red", "Yellow")]
    shown = [view.GetSliceCompositeNode().GetBackgroundVolumeID() for view in views]
    assert shown == [first.ct.GetID(), second.ct.GetID()]


def test_a_pair_keeps_settings_and_seed_whatever_the_panel_says_meanwhile(
    lesion: Any, ui: Any, node: Any, family: FakeFamily, application: Any
) -> None:
    node.seed, node.retries, node.count = 5, 3, 4
    ui.pairButton.click()
    node.seed = 99
    ui.presetComboBox.setCurrentIndex(2)
    family.finish()
    application.processEvents()
    family.finish()
    first, second = family.jobs
    changing = ("mask", "out", "cancel_file")
    assert {k: v for k, v in first.items() if k not in changing} == {
        k: v for k, v in second.items() if k not in changing
    }
    assert (first["seed"], first.get("retries", 0), first.get("count", 1)) == (5, 0, 1)


@pytest.mark.parametrize("done", [0, 1])
def test_a_cancelled_pair_leaves_no_anatomy_behind(
    done: int, lesion: Any, ui: Any, family: FakeFamily, application: Any
) -> None:
    import slicer

    before = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
    ui.pairButton.click()
    if done:
        family.finish()
        application.processEvents()
    ui.generateButton.click()
    family.finish()
    application.processEvents()
    masks = done
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == before + masks
    assert len(family.jobs) == 1 + done


@pytest.mark.parametrize("closed", [False, True])
def test_a_pair_waits_for_an_edit_that_is_going_on_as_its_first_ct_ends(
    closed: bool, lesion: Any, ui: Any, widget: Any, family: FakeFamily, application: Any, shown_errors: list[str]
) -> None:
    import slicer

    def edit() -> Generator[None, None, None]:
        while not ended:
            yield

    ended: list[bool] = []
    edits = widget.logic.workbench.edits
    ui.pairButton.click()
    widget.logic.workbench.edit(edit(), lambda _error: None)
    family.finish()
    application.processEvents()
    assert edits.busy and shown_errors == [] and len(family.jobs) == 1
    if closed:
        slicer.mrmlScene.Clear(0)
    ended.append(True)
    edits.step()
    widget.logic.workbench.readinessChanged.emit()
    application.processEvents()
    family.finish()
    assert shown_errors == [] and len(family.jobs) == (1 if closed else 2)


def test_healing_gives_a_lesion_to_the_organ_around_it(lesion: Any, chest: Any) -> None:
    from SynthCTModule.Pairs import withoutLesions
    from SynthCTModule.SelfTest import labelVoxels

    assert labelVoxels(withoutLesions(lesion)) == labelVoxels(chest)


def test_a_pair_without_a_lesion_is_refused_in_words(chest: Any, ui: Any, shown_errors: list[str]) -> None:
    ui.pairButton.click()
    assert shown_errors == ["There is no lesion in the anatomy; put one in first, or load a case with one."]
