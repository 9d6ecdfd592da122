"""Edits change the segments as the engine changes the label map of all of them, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is missing (extra module-test)")

from SynthCTLib.errors import InputError
from SynthCTLib.growth import grow_organ
from SynthCTLib.lesion import put_lesion
from SynthCTLib.mirror import mirror_left_right
from SynthCTModule.AnatomyEdits import growStructure, mirrorAnatomy, putLesion
from SynthCTModule.LabelArray import labelArray
from SynthCTModule.SegmentationExchange import UnknownSegments, importLabelmap
from SynthCTModule.SegmentationLayers import segmentationLayers
from SynthCTModule.SegmentLabels import resolveSegments, setSegmentLabel
from SynthCTModule.Work import finished
from Testing.mrml.samples import (
    AORTA,
    BODY,
    COLON,
    GRIDS,
    HEPATIC_TUMOR,
    LEFT_KIDNEY,
    LIVER,
    RIGHT_KIDNEY,
    SPLEEN,
    TURNED,
    addSegment,
    box,
    emptySegmentation,
    segmentOf,
    transformed,
    turned,
)

SIZE = (36, 30, 24)
ORGANS = {
    SPLEEN: ((22, 30), (3, 8), (4, 12)),
    AORTA: ((18, 20), (12, 15), (0, 24)),
    RIGHT_KIDNEY: ((4, 9), (20, 26), (2, 9)),
}


def trunk() -> np.ndarray:
    """A body with a liver that reaches the volume's border, a spleen beside it, aorta and right kidney."""
    labels = np.zeros(SIZE, np.uint8)
    labels[1:35, 1:29] = BODY
    labels[2:20, 2:18, 8:24] = LIVER
    for label, corners in ORGANS.items():
        labels[box(*corners, shape=SIZE)] = label
    return labels


def masks(node: Any) -> dict[str, set[tuple[float, ...]]]:
    """World positions of the voxels of each segment, in hundredths of a millimeter, overlaps included."""
    found: dict[str, set[tuple[float, ...]]] = {segment.segmentId: set() for segment in resolveSegments(node)}
    for layer in segmentationLayers(node):
        for value, segmentId in layer.segments.items():
            points = np.argwhere(layer.array == value) @ layer.affine[:3, :3].T + layer.affine[:3, 3]
            found[segmentId] |= set(map(tuple, np.round(100 * points).astype(int).tolist()))
    return found


def pointsOf(labels: np.ndarray, affine: np.ndarray, labelId: int) -> set[tuple[float, ...]]:
    points = np.argwhere(labels == labelId) @ affine[:3, :3].T + affine[:3, 3]
    return set(map(tuple, np.round(100 * points).astype(int).tolist()))


def check(node: Any, before: dict[str, Any], labels: np.ndarray, after: np.ndarray, affine: np.ndarray) -> None:
    """Segments of labels that the edit has changed are the label map's; all others are what they were."""
    changed = set(np.unique(np.stack([labels, after])[:, labels != after]).tolist()) - {0}
    assert changed
    now = masks(node)
    for segment in resolveSegments(node):
        if segment.labelId in changed:
            assert now[segment.segmentId] == pointsOf(after, affine, segment.labelId), segment.name
        else:
            assert now[segment.segmentId] == before[segment.segmentId], segment.name


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("millimeters", [4.0, -3.0])
def test_a_grown_or_shrunk_organ_is_the_engines_on_any_grid(scene, grid, millimeters):
    node = importLabelmap(trunk(), GRIDS[grid], "Trunk", scene)
    before, (labels, affine) = masks(node), labelArray(node)
    text = finished(growStructure(node, LIVER, millimeters))
    edit = grow_organ(labels, np.linalg.norm(affine[:3, :3], axis=0), LIVER, millimeters)
    check(node, before, labels, edit.labels, affine)
    assert text == f"Volume {edit.before_ml:.0f} → {edit.after_ml:.0f} ml."
    assert np.array_equal(labelArray(node)[0], edit.labels)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_lesion_is_the_engines_and_segments_go_on_sharing_an_image(scene, grid, seed):
    node = importLabelmap(trunk(), GRIDS[grid], "Trunk", scene)
    before, (labels, affine) = masks(node), labelArray(node)
    finished(putLesion(node, HEPATIC_TUMOR, 11.0, LIVER, True, seed))
    edit = put_lesion(labels, affine, HEPATIC_TUMOR, 11.0, host_ids=[LIVER], shape="irregular", seed=seed)
    check(node, before, labels, edit.labels, affine)
    assert len(segmentationLayers(node)) == 1
    tumor = next(segment for segment in resolveSegments(node) if segment.labelId == HEPATIC_TUMOR)
    assert tumor.source == "tag" and tumor.name == "Liver tumor"


def test_a_lesion_at_the_border_of_the_volume_ends_there(scene):
    labels = np.zeros(SIZE, np.uint8)
    labels[:, :, :7] = LIVER
    labels[:3] = 0
    node = importLabelmap(labels, np.diag([1.0, 1.0, 1.0, 1.0]), "Slab", scene)
    before = masks(node)
    finished(putLesion(node, HEPATIC_TUMOR, 6.0, None, False, 4))
    edit = put_lesion(labels, np.eye(4), HEPATIC_TUMOR, 6.0, seed=4)
    check(node, before, labels, edit.labels, np.eye(4))
    finished(growStructure(node, HEPATIC_TUMOR, 6.0))
    grown = grow_organ(edit.labels, (1.0, 1.0, 1.0), HEPATIC_TUMOR, 6.0).labels
    assert (grown[:, :, 0] == HEPATIC_TUMOR).any()
    assert np.array_equal(labelArray(node)[0], grown)


@pytest.mark.parametrize("grid", GRIDS)
def test_a_mirrored_anatomy_is_the_engines(scene, blocks, grid):
    node = importLabelmap(blocks, GRIDS[grid], "All", scene)
    finished(mirrorAnatomy(node))
    mirrored, affine = labelArray(node)
    assert np.array_equal(mirrored, mirror_left_right(blocks).labels) and np.allclose(affine, GRIDS[grid], atol=1e-9)


def overlapping(scene: Any) -> Any:
    """Organs as a user draws them, each in a layer of its own: they lie under each other and end at their own boxes."""
    node = emptySegmentation(scene)
    addSegment(node, "body", box((1, 35), (1, 29), (0, 24), shape=SIZE))
    addSegment(node, "liver", box((2, 20), (2, 18), (8, 24), shape=SIZE))
    addSegment(node, "hepatic tumor", box((6, 11), (6, 11), (12, 17), shape=SIZE))
    addSegment(node, "colon", box((16, 23), (9, 14), (6, 20), shape=SIZE))
    return node


@pytest.mark.parametrize(
    ("label", "millimeters"), [(LIVER, 5.0), (LIVER, -4.0), (HEPATIC_TUMOR, 4.0), (HEPATIC_TUMOR, -2.0), (COLON, 4.0)]
)
def test_overlapping_segments_come_out_as_the_label_map_says(scene, label, millimeters):
    node = overlapping(scene)
    before, (labels, affine) = masks(node), labelArray(node)
    finished(growStructure(node, label, millimeters))
    edit = grow_organ(labels, np.linalg.norm(affine[:3, :3], axis=0), label, millimeters)
    check(node, before, labels, edit.labels, affine)


def test_a_segment_that_grows_over_a_hidden_one_leaves_that_as_it_is(scene):
    node = importLabelmap(trunk(), TURNED, "Trunk", scene)
    hidden = box((19, 23), (2, 9), (4, 12), shape=SIZE)
    addSegment(node, "colon", hidden)
    addSegment(node, "hepatic tumor", hidden)
    before, (labels, affine) = masks(node), labelArray(node)
    finished(growStructure(node, HEPATIC_TUMOR, -2.0))
    edit = grow_organ(labels, np.linalg.norm(affine[:3, :3], axis=0), HEPATIC_TUMOR, -2.0)
    check(node, before, labels, edit.labels, affine)


def test_a_segment_in_an_image_of_its_own_grows_beyond_that(scene):
    node = emptySegmentation(scene)
    small = addSegment(node, "spleen", np.ones((4, 4, 4), bool))
    addSegment(
        node,
        "body",
        box((1, 35), (1, 29), (0, 24), shape=SIZE),
        TURNED - np.pad(np.full((3, 1), 0.0), ((0, 1), (3, 0))),
    )
    before, (labels, affine) = masks(node), labelArray(node)
    finished(growStructure(node, SPLEEN, 5.0))
    edit = grow_organ(labels, np.linalg.norm(affine[:3, :3], axis=0), SPLEEN, 5.0)
    check(node, before, labels, edit.labels, affine)
    assert len(masks(node)[small]) > 64


def test_segments_of_two_grids_come_out_as_the_label_map_says(scene):
    node = emptySegmentation(scene)
    addSegment(node, "body", box((1, 19), (1, 17), (0, 16)), np.diag([4.0, 4.0, 4.0, 1.0]))
    addSegment(
        node,
        "liver",
        box((4, 16), (4, 14), (3, 13)),
        turned((2.0, 2.0, 2.0), (30.0, 10.0)) + np.pad([[20.0], [70.0], [-60.0]], ((0, 1), (3, 0))),
    )
    labels, affine = labelArray(node)
    finished(growStructure(node, LIVER, 5.0))
    edit = grow_organ(labels, np.linalg.norm(affine[:3, :3], axis=0), LIVER, 5.0)
    assert pointsOf(*labelArray(node), LIVER) == pointsOf(edit.labels, affine, LIVER)


def test_a_label_in_two_segments_shrinks_in_both(scene):
    node = importLabelmap(trunk(), TURNED, "Trunk", scene)
    second = addSegment(node, "Hepar", box((14, 23), (4, 16), (10, 22), shape=SIZE))
    setSegmentLabel(node, second, LIVER)
    labels, affine = labelArray(node)
    finished(growStructure(node, LIVER, -4.0))
    edit = grow_organ(labels, np.linalg.norm(affine[:3, :3], axis=0), LIVER, -4.0)
    assert np.array_equal(labelArray(node)[0] == LIVER, edit.labels == LIVER)


def test_a_moved_segmentation_is_edited_where_it_lies(scene):
    node = importLabelmap(trunk(), TURNED, "Trunk", scene)
    transformed(scene, node, turned((1.0, 1.0, 1.0), (33.0, 12.0)))
    before, (labels, affine) = masks(node), labelArray(node)
    finished(growStructure(node, SPLEEN, 4.0))
    edit = grow_organ(labels, np.linalg.norm(affine[:3, :3], axis=0), SPLEEN, 4.0)
    check(node, before, labels, edit.labels, affine)


def test_an_edit_of_what_was_changed_meanwhile_is_left_out_in_words(scene):
    node = importLabelmap(trunk(), TURNED, "Trunk", scene)
    work = growStructure(node, LIVER, 4.0)
    next(work)
    finished(growStructure(node, SPLEEN, 4.0))
    before = masks(node)
    with pytest.raises(RuntimeError, match="'Trunk' was changed meanwhile"):
        finished(work)
    assert masks(node) == before


def test_an_edit_of_a_segmentation_that_has_left_the_scene_is_left_out(scene):
    node = importLabelmap(trunk(), TURNED, "Trunk", scene)
    before, work = masks(node), growStructure(node, LIVER, 4.0)
    next(work)
    scene.RemoveNode(node)
    with pytest.raises(RuntimeError, match="changed meanwhile"):
        finished(work)
    assert masks(node) == before


def test_an_edit_that_is_given_up_changes_nothing(scene):
    node = importLabelmap(trunk(), TURNED, "Trunk", scene)
    before, work = masks(node), putLesion(node, HEPATIC_TUMOR, 11.0, LIVER, True, 1)
    next(work)
    work.close()
    assert masks(node) == before


def test_what_cannot_be_edited_is_said_before_anything_is_changed(scene):
    node = importLabelmap(trunk(), TURNED, "Trunk", scene)
    with pytest.raises(InputError, match="Left kidney: cannot be grown"):
        finished(growStructure(node, LEFT_KIDNEY, 4.0))
    with pytest.raises(ValueError, match="'Anatomy' has no labeled voxels"):
        finished(growStructure(emptySegmentation(scene), LIVER, 4.0))
    addSegment(node, "Gewächs", box((2, 4), (2, 4), (2, 4), shape=SIZE))
    before = masks(node)
    with pytest.raises(UnknownSegments, match="Gewächs"):
        finished(mirrorAnatomy(node))
    assert masks(node) == before


def test_surfaces_are_refused_in_words(scene):
    node = importLabelmap(trunk(), TURNED, "Trunk", scene)
    assert node.GetSegmentation().CreateRepresentation("Closed surface")
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    with pytest.raises(ValueError, match="surfaces"):
        finished(growStructure(node, LIVER, 4.0))


def test_a_surface_that_is_shown_follows_the_edit(scene):
    node = importLabelmap(trunk(), TURNED, "Trunk", scene)
    assert node.GetSegmentation().CreateRepresentation("Closed surface")
    before = segmentOf(node, "spleen").GetRepresentation("Closed surface").GetBounds()
    finished(growStructure(node, SPLEEN, 6.0))
    after = segmentOf(node, "spleen").GetRepresentation("Closed surface").GetBounds()
    assert after[1] - after[0] > before[1] - before[0]


def test_the_editors_history_brings_back_what_was_there(scene):
    node = importLabelmap(trunk(), TURNED, "Trunk", scene)
    history = slicer.vtkSegmentationHistory()
    history.SetSegmentation(node.GetSegmentation())
    before = masks(node)
    history.SaveState()
    finished(putLesion(node, HEPATIC_TUMOR, 11.0, LIVER, True, 1))
    assert masks(node) != before
    history.RestorePreviousState()
    assert masks(node) == before
