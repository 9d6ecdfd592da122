"""Each problem of a segmentation is a sentence, and its fix does what it says and nothing else."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is missing (extra module-test)")

from SynthCTLib.findings import Finding
from SynthCTModule.SegmentationCheck import (
    ADD_BODY,
    DROP,
    RENAME,
    RESAMPLE,
    SET_LABEL,
    Problem,
    addBody,
    applyFix,
    checkSegmentation,
)
from SynthCTModule.SegmentationExchange import exportLabelmap, importLabelmap, readLabelmap
from SynthCTModule.SegmentLabels import resolveSegments, setSegmentLabel
from Testing.mrml.samples import (
    AORTA,
    BODY,
    LIVER,
    SPLEEN,
    TURNED,
    addSegment,
    box,
    emptySegmentation,
    positions,
    segmentOf,
    setTerminology,
    transformed,
    turned,
)

SPLEEN_ENTRY = "X~SCT^123037004^Anatomical Structure~SCT^78961009^Spleen~^^~X~^^~^^"


def coded(problems: list[Problem], code: str) -> Problem:
    return next(problem for problem in problems if problem.code == code)


@pytest.fixture
def chest(scene, phantom):
    """The phantom of a chest without its body envelope."""
    array, affine = readLabelmap(phantom)
    array[array == BODY] = 0
    return importLabelmap(array, affine, "Chest", scene)


def prepared(node, folder, card):
    """The mask that the engine prepares for a segmentation."""
    labelmap = exportLabelmap(node, folder / "labels.nrrd").path
    command = [sys.executable, "-m", "SynthCTLib", "prepare", str(labelmap), "--out", str(folder / "prepared")]
    subprocess.run([*command, "--model", str(card), "--labels", "maisi"], check=True, capture_output=True)
    return folder / "prepared" / "mask.nii.gz"


def test_a_complete_segmentation_has_no_problem(scene, blocks):
    assert checkSegmentation(importLabelmap(blocks, TURNED, "All", scene)) == []


def test_an_unknown_name_is_an_error_with_labels_to_choose_from(scene):
    node = emptySegmentation(scene)
    segmentId = addSegment(node, "splen", box((2, 5), (2, 5), (2, 5)))
    problem = coded(checkSegmentation(node), "unknown-segment")
    assert (problem.severity, problem.segmentIds, problem.fix) == ("error", (segmentId,), SET_LABEL)
    assert "'splen'" in problem.text and problem.choices[0] == SPLEEN
    applyFix(problem, node)
    assert resolveSegments(node)[0].labelId == SPLEEN and segmentOf(node, segmentId).GetName() == "Spleen"
    assert not [problem for problem in checkSegmentation(node) if problem.severity != "info"]


def test_the_users_choice_wins_over_the_likeliest_label(scene):
    node = emptySegmentation(scene)
    addSegment(node, "splen", box((2, 5), (2, 5), (2, 5)))
    applyFix(coded(checkSegmentation(node), "unknown-segment"), node, labelId=LIVER)
    assert exportLabelmapIds(node) == {LIVER}


def exportLabelmapIds(node) -> set[int]:
    return {segment.labelId for segment in resolveSegments(node)}


def test_a_name_with_nothing_alike_needs_a_choice(scene):
    node = emptySegmentation(scene)
    addSegment(node, "Qwxyz", box((2, 5), (2, 5), (2, 5)))
    problem = coded(checkSegmentation(node), "unknown-segment")
    assert problem.choices == ()
    with pytest.raises(ValueError, match="Choose a label"):
        applyFix(problem, node)


def test_a_terminology_changed_afterwards_is_an_error_that_offers_both(scene):
    node = emptySegmentation(scene)
    segmentId = addSegment(node, "x", box((2, 5), (2, 5), (2, 5)))
    setSegmentLabel(node, segmentId, LIVER)
    setTerminology(node, segmentId, SPLEEN_ENTRY)
    problem = coded(checkSegmentation(node), "tag-and-terminology")
    assert problem.severity == "error" and set(problem.choices) == {LIVER, SPLEEN}
    segmentOf(node, segmentId).SetName("Spleen")
    assert coded(checkSegmentation(node), "relabeled").severity == "warning"


def test_totalsegmentators_names_are_known_and_can_become_synthcts(scene):
    node = emptySegmentation(scene)
    addSegment(node, "kidney_right", box((2, 5), (2, 5), (2, 5)))
    addSegment(node, "inferior_vena_cava", box((8, 11), (2, 5), (2, 5)))
    problem = coded(checkSegmentation(node), "foreign-names")
    assert (problem.severity, problem.fix) == ("info", RENAME) and "TotalSegmentator" in problem.text
    before = [segment.labelId for segment in resolveSegments(node)]
    applyFix(problem, node)
    after = resolveSegments(node)
    assert [segment.name for segment in after] == ["Right kidney", "Inferior vena cava"]
    assert [segment.labelId for segment in after] == before and {segment.source for segment in after} == {"tag"}
    assert "foreign-names" not in [problem.code for problem in checkSegmentation(node)]


def test_duplicates_overlaps_and_empty_segments_are_said(scene):
    node = emptySegmentation(scene)
    addSegment(node, "liver", box((2, 8), (2, 8), (2, 8)))
    addSegment(node, "Hepar", box((10, 12), (2, 5), (2, 5)))
    addSegment(node, "aorta", box((6, 10), (4, 6), (4, 6)))
    node.GetSegmentation().AddEmptySegment("nothing", "nothing")
    problems = checkSegmentation(node)
    assert "'liver', 'Hepar'" in coded(problems, "segments-joined").text
    assert "8 voxels belong to more than one structure" in coded(problems, "overlap").text
    assert set(coded(problems, "overlap").segmentIds) == {"liver", "Hepar", "aorta"}
    empty = coded(problems, "empty-segment")
    assert (empty.severity, empty.fix, empty.segmentIds) == ("info", DROP, ("nothing",))
    applyFix(empty, node)
    assert list(node.GetSegmentation().GetSegmentIDs()) == ["liver", "Hepar", "aorta"]


def test_errors_come_first(scene):
    node = emptySegmentation(scene)
    addSegment(node, "liver", box((2, 8), (2, 8), (2, 8)))
    addSegment(node, "Qwxyz", box((10, 12), (2, 5), (2, 5)))
    node.GetSegmentation().AddEmptySegment("nothing", "nothing")
    severities = [problem.severity for problem in checkSegmentation(node)]
    assert severities[0] == "error" and severities[-1] == "info"


def test_nothing_at_all_is_an_error(scene):
    assert [problem.code for problem in checkSegmentation(emptySegmentation(scene))] == ["empty"]


def test_a_fix_can_be_undone(scene):
    node = emptySegmentation(scene)
    addSegment(node, "splen", box((2, 5), (2, 5), (2, 5)))
    history = slicer.vtkSegmentationHistory()
    history.SetSegmentation(node.GetSegmentation())
    problem = coded(checkSegmentation(node), "unknown-segment")
    history.SaveState()
    applyFix(problem, node)
    assert history.RestorePreviousState()
    assert [(segment.name, segment.labelId) for segment in resolveSegments(node)] == [("splen", None)]


def test_checking_changes_nothing(scene, tmp_path):
    node = emptySegmentation(scene)
    addSegment(node, "splen", box((2, 5), (2, 5), (2, 5)))
    before = node.GetSegmentation().GetMTime(), node.GetMTime()
    checkSegmentation(node)
    assert (node.GetSegmentation().GetMTime(), node.GetMTime()) == before


def test_the_body_envelope_comes_from_the_engine_in_the_right_place(chest, tiny_model, tmp_path):
    assert coded(checkSegmentation(chest), "no-body").fix == ADD_BODY
    addBody(chest, prepared(chest, tmp_path, tiny_model))
    assert resolveSegments(chest)[-1].labelId == BODY
    assert "no-body" not in [problem.code for problem in checkSegmentation(chest)]


def test_a_second_body_envelope_replaces_the_first(scene, chest, tmp_path):
    mask = exportLabelmap(
        importLabelmap(box((1, 9), (1, 9), (1, 9)).astype(np.uint8) * BODY, TURNED, "B", scene), tmp_path / "b.nrrd"
    )
    transformed(scene, chest, turned((1.0, 1.0, 1.0), (20.0, 10.0)))
    addBody(chest, mask.path)
    addBody(chest, mask.path)
    assert [segment.labelId for segment in resolveSegments(chest)].count(BODY) == 1
    array, affine = readLabelmap(exportLabelmap(chest, tmp_path / "c.nrrd").path)
    body = positions(array, affine, BODY)
    assert np.abs(body.mean(axis=0) - positions(box((1, 9), (1, 9), (1, 9)), TURNED, 1).mean(axis=0)).max() < 1.0


def test_resampling_is_offered_and_left_to_the_engine(chest):
    problem = Problem.fromFinding(Finding("error", "size-not-allowed", "Too large.", "", "resample"))
    assert problem.fix == RESAMPLE
    with pytest.raises(ValueError, match="by hand"):
        applyFix(problem, chest)


def test_findings_of_the_engine_name_the_segments_that_they_are_about(scene):
    node = emptySegmentation(scene)
    addSegment(node, "aorta", box((2, 5), (2, 5), (2, 5)))
    addSegment(node, "liver", box((8, 11), (2, 5), (2, 5)))
    event = {
        "event": "finding",
        "severity": "warning",
        "code": "tiny-lesion",
        "message": "Small.",
        "advice": "Enlarge it.",
    }
    problem = Problem.fromFinding({**event, "fix": "drop-labels", "labels": [AORTA]}, node)
    assert (problem.text, problem.segmentIds, problem.fix) == ("Small. Enlarge it.", ("aorta",), DROP)
    applyFix(problem, node)
    assert list(node.GetSegmentation().GetSegmentIDs()) == ["liver"]


def test_a_problem_without_fix_says_so(scene):
    with pytest.raises(ValueError, match="by hand: Odd"):
        applyFix(Problem("warning", "Odd."), emptySegmentation(scene))
