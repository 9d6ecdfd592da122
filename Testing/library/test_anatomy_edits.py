"""Lesion, growth and mirror: on boxes whose result is known, and on a real label map."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import ndimage

from SynthCTLib.anatomy import label_places
from SynthCTLib.cases import find_case
from SynthCTLib.crop import label_boxes
from SynthCTLib.errors import InputError
from SynthCTLib.growth import grow_organ
from SynthCTLib.label_file import read_label_file
from SynthCTLib.labels import BODY, load_vocabulary
from SynthCTLib.lesion import default_hosts, put_lesion
from SynthCTLib.mirror import mirror_left_right, other_side
from SynthCTLib.volume import Volume

LIVER, SPLEEN, AORTA, LIVER_TUMOR, LUNG_TUMOR, BONE_LESION = 1, 3, 6, 26, 23, 128
LEFT_UPPER_LOBE, MIDDLE_LOBE = 28, 31
SPACING = (2.0, 2.0, 3.0)
AFFINE = np.array([[2.0, 0, 0, -60], [0, 2.0, 0, -50], [0, 0, 3.0, 100], [0, 0, 0, 1]])


@pytest.fixture
def labels() -> np.ndarray:
    """A body of 60 × 50 × 40 voxels with air around it, a liver, and a spleen that touches the aorta."""
    array = np.zeros((60, 50, 40), np.uint8)
    array[2:58, 2:48] = BODY
    array[30:55, 10:40, 10:35] = LIVER
    array[8:18, 20:30, 15:25] = SPLEEN
    array[18:21, 20:30, 15:25] = AORTA
    return array


@pytest.fixture(scope="module")
def abdomen() -> tuple[np.ndarray, np.ndarray]:
    return read_label_file(find_case("totalseg_s0327_abdomen_pelvis").path)


@pytest.mark.parametrize("shape", ["sphere", "irregular"])
def test_a_lesion_has_the_size_asked_for_and_lies_in_its_organ(abdomen, shape) -> None:
    labels, affine = abdomen
    edit = put_lesion(labels, affine, LIVER_TUMOR, 30, shape=shape, seed=7)
    changed = edit.labels != labels
    assert (labels[changed] == LIVER).all() and (edit.labels[changed] == LIVER_TUMOR).all()
    volume = changed.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000
    assert edit.volume_ml == pytest.approx(volume) and volume == pytest.approx(np.pi / 6 * 27, rel=0.03)
    assert edit.diameter_mm == pytest.approx(30, rel=0.01) and edit.voxels == changed.sum() and edit.host == LIVER
    center = (affine @ [*np.argwhere(changed).mean(axis=0), 1])[:3]
    assert edit.center_ras == pytest.approx(center)
    assert ndimage.label(changed)[1] == 1
    beside = ndimage.binary_dilation(changed) & ~changed
    assert shape == "irregular" or (labels[beside] == LIVER).all()


def test_an_irregular_lesion_is_no_sphere_and_differs_by_seed(labels) -> None:
    center = tuple((AFFINE @ [42, 25, 22, 1])[:3])
    lumps = [
        put_lesion(labels, AFFINE, LIVER_TUMOR, 24, shape="irregular", center_ras=center, seed=s).labels == LIVER_TUMOR
        for s in (1, 2, 1)
    ]
    sphere = put_lesion(labels, AFFINE, LIVER_TUMOR, 24, center_ras=center).labels == LIVER_TUMOR
    assert (lumps[0] == lumps[2]).all()
    assert (lumps[0] != lumps[1]).sum() > 0.1 * sphere.sum() and (lumps[0] != sphere).sum() > 0.1 * sphere.sum()


def test_a_lesion_at_the_edge_is_cut_by_the_organ(labels) -> None:
    edit = put_lesion(labels, AFFINE, LIVER_TUMOR, 20, center_ras=tuple((AFFINE @ [32, 25, 22, 1])[:3]))
    changed = edit.labels != labels
    assert (labels[changed] == LIVER).all() and edit.diameter_mm < 19


def test_the_input_of_an_edit_stays_as_it_is(labels) -> None:
    before = labels.copy()
    put_lesion(labels, AFFINE, LIVER_TUMOR, 20)
    grow_organ(labels, SPACING, SPLEEN, 4)
    mirror_left_right(labels)
    assert (labels == before).all()


def test_lesions_know_where_they_may_lie() -> None:
    vocabulary = load_vocabulary()
    assert default_hosts(LIVER_TUMOR) == (LIVER,)
    assert set(default_hosts(LUNG_TUMOR)) == {28, 29, 30, 31, 32}
    assert BONE_LESION not in default_hosts(BONE_LESION) and vocabulary.find("sacrum").id in default_hosts(BONE_LESION)
    with pytest.raises(InputError, match="Spleen is no lesion"):
        default_hosts(SPLEEN)


@pytest.mark.parametrize(
    ("lesion", "diameter", "more", "words"),
    [
        (LUNG_TUMOR, 20, {}, "not in the label map"),
        (LIVER_TUMOR, 200, {}, "choose less than"),
        (LIVER_TUMOR, 1, {}, "too small for voxels"),
        (LIVER_TUMOR, 20, {"center_ras": (0, 0, 0)}, "not in Liver"),
        (LIVER_TUMOR, 20, {"center_ras": (0, 0, 1e6)}, "not in Liver"),
        (LIVER_TUMOR, 60, {"center_ras": tuple((AFFINE @ [31, 11, 11, 1])[:3])}, "not enough room"),
    ],
)
def test_a_lesion_that_cannot_be_is_explained(labels, lesion, diameter, more, words) -> None:
    with pytest.raises(InputError, match=words):
        put_lesion(labels, AFFINE, lesion, diameter, **more)


def test_the_largest_size_that_is_named_does_fit(labels) -> None:
    with pytest.raises(InputError) as error:
        put_lesion(labels, AFFINE, LIVER_TUMOR, 200)
    limit = float(str(error.value).split("less than ")[1].split(" mm")[0])
    assert put_lesion(labels, AFFINE, LIVER_TUMOR, limit - 2).diameter_mm == pytest.approx(limit - 2, rel=0.05)


def test_an_organ_grows_by_the_millimeters_asked_for(labels) -> None:
    edit = grow_organ(labels, SPACING, SPLEEN, 4)
    where = np.argwhere(edit.labels == SPLEEN)
    assert where.min(axis=0).tolist() == [6, 18, 14]  # 2, 2 and 1 voxels of 2, 2 and 3 mm
    assert where.max(axis=0).tolist()[1:] == [31, 25]
    assert edit.after_ml > edit.before_ml == pytest.approx(10 * 10 * 10 * 12 / 1000)


def test_an_organ_grows_into_no_neighbor_and_not_out_of_the_body(labels) -> None:
    grown = grow_organ(labels, SPACING, SPLEEN, 60).labels
    changed = grown != labels
    assert (labels[changed] == BODY).all()
    bare = ndimage.binary_dilation(grown == 0, np.ones((3, 3, 3))) & (grown == SPLEEN)
    assert not bare.any()


def test_an_organ_grows_into_a_neighbor_when_told(labels) -> None:
    grown = grow_organ(labels, SPACING, SPLEEN, 3, also_into=[AORTA]).labels
    assert (grown == AORTA).sum() < (labels == AORTA).sum()


def test_an_organ_does_not_jump_over_its_neighbor(labels) -> None:
    wall = labels.copy()
    wall[19:22, 3:47] = AORTA
    grown = grow_organ(wall, SPACING, SPLEEN, 10).labels
    assert not (grown[22:] == SPLEEN).any()


def test_without_a_body_an_organ_grows_into_unlabeled_voxels(labels) -> None:
    bare = np.where(labels == BODY, 0, labels).astype(np.uint8)
    changed = grow_organ(bare, SPACING, SPLEEN, 4).labels != bare
    assert changed.any() and (bare[changed] == 0).all()


def test_a_shrunk_organ_leaves_body_and_a_shrunk_lesion_its_organ(labels) -> None:
    shrunk = grow_organ(labels, SPACING, SPLEEN, -2).labels
    assert (shrunk[labels == SPLEEN] == BODY).sum() == 1000 - 8 * 8 * 10
    with_lesion = put_lesion(labels, AFFINE, LIVER_TUMOR, 24).labels
    healed = grow_organ(with_lesion, SPACING, LIVER_TUMOR, -4).labels
    changed = healed != with_lesion
    assert changed.any() and (healed[changed] == LIVER).all()


def test_a_lesion_grows_into_its_organ(labels) -> None:
    with_lesion = put_lesion(labels, AFFINE, LIVER_TUMOR, 20).labels
    changed = grow_organ(with_lesion, SPACING, LIVER_TUMOR, 4).labels != with_lesion
    assert changed.any() and (with_lesion[changed] == LIVER).all()


def test_a_cut_plane_is_no_surface_when_an_organ_shrinks() -> None:
    array = np.full((20, 20, 20), BODY, np.uint8)
    array[5:15, 5:15, :] = LIVER
    shrunk = grow_organ(array, (1, 1, 1), LIVER, -2).labels
    assert (shrunk[7:13, 7:13] == LIVER).all()


@pytest.mark.parametrize(
    ("label", "mm", "words"),
    [
        (LIVER, -500, "would vanish"),
        (14, 5, "in the label map"),
        (BODY, 5, "cannot be grown"),
        (AORTA, 0.5, "less than a voxel"),
    ],
)
def test_a_growth_that_cannot_be_is_explained(labels, label, mm, words) -> None:
    with pytest.raises(InputError, match=words):
        grow_organ(labels, SPACING, label, mm)


def test_after_mirroring_left_is_still_left_and_the_liver_lies_there(abdomen) -> None:
    labels, affine = abdomen
    before = label_places(Volume(labels, affine))
    after = label_places(Volume(mirror_left_right(labels).labels, affine))
    pairs = [(left, other_side(left)) for left in after if load_vocabulary().by_id(left).side == "left"]
    pairs = [(left, right) for left, right in pairs if right in after]
    assert len(pairs) > 10
    for left, right in pairs:
        assert after[left].centroid[0] < after[right].centroid[0]
        if left != LEFT_UPPER_LOBE:  # to which the middle lobe comes
            assert after[left].voxels == before[right].voxels
    spine = load_vocabulary().find("vertebrae L1").id
    assert before[LIVER].centroid[0] > before[spine].centroid[0]
    assert after[LIVER].centroid[0] < after[spine].centroid[0]


def test_mirroring_twice_gives_the_same_but_for_the_middle_lobe(abdomen) -> None:
    labels, _ = abdomen
    once = mirror_left_right(labels)
    assert any("middle lobe" in note for note in once.notes)
    twice = mirror_left_right(once.labels).labels
    assert set(np.unique(labels[twice != labels])) == {MIDDLE_LOBE}


@pytest.mark.parametrize("order", ["C", "F"])
def test_boxes_of_labels_are_those_of_scipy_in_either_order_of_the_memory(order) -> None:
    noise = np.random.default_rng(0).choice([0, 0, 0, 1, 5, 200], (30, 1, 25)).astype(np.uint8)
    noise[:4] = 0
    scipys = {number: box for number, box in enumerate(ndimage.find_objects(noise), start=1) if box is not None}
    assert label_boxes(np.array(noise, order=order)) == scipys
    assert label_boxes(np.zeros((4, 4, 4), np.uint8, order=order)) == {}


@pytest.mark.parametrize("order", ["C", "F"])
def test_edits_keep_the_order_of_the_memory_and_say_where_they_were(labels, order) -> None:
    array = np.array(labels, order=order)
    for edit in (put_lesion(array, AFFINE, LIVER_TUMOR, 20), grow_organ(array, SPACING, SPLEEN, 4)):
        outside = np.ones(array.shape, bool)
        outside[edit.box] = False
        assert (edit.labels[outside] == array[outside]).all() and (edit.labels != array).any()
        assert edit.labels.strides == array.strides
    mirrored = mirror_left_right(array).labels
    assert mirrored.strides == array.strides
    np.testing.assert_array_equal(mirrored == LIVER, array[::-1] == LIVER)


def test_edits_of_a_large_map_are_quick() -> None:
    large = np.zeros((512, 512, 200), np.uint8)
    large[40:470, 60:450] = BODY
    large[300:420, 200:320, 60:150] = LIVER
    start = time.perf_counter()
    put_lesion(large, np.diag([0.7, 0.7, 1.0, 1.0]), LIVER_TUMOR, 25, shape="irregular")
    grow_organ(large, (0.7, 0.7, 1.0), LIVER, 3)
    mirror_left_right(large)
    assert time.perf_counter() - start < 15
