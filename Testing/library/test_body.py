"""The body envelope, judged on anatomy made here (ellipses with a known outline) and on the bundled label maps."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from SynthCTLib.body import _upsample, add_body, body_finding, body_from_ct, body_from_labels, envelope_confidence
from SynthCTLib.body_outline import _row_ends
from SynthCTLib.errors import InputError
from SynthCTLib.label_file import read_label_file
from SynthCTLib.labels import BODY, load_vocabulary
from SynthCTLib.resources import resource_path
from SynthCTLib.skin_depth import SKIN_DEPTHS
from SynthCTLib.volume import Volume

SPACING = (4.0, 4.0, 5.0)
SHAPE = (96, 72, 40)


def grid(shape=SHAPE, spacing=SPACING):
    """Positions in mm from the middle of the grid in x and y, from the lowest slice in z."""
    x, y, z = np.ogrid[: shape[0], : shape[1], : shape[2]]
    return (x - shape[0] / 2) * spacing[0], (y - shape[1] / 2) * spacing[1], z * spacing[2]


def volume(array, spacing=SPACING):
    return Volume(array, np.diag([*spacing, 1.0]))


def trunk(shape=SHAPE, spacing=SPACING):
    """Label map and outline of a slim trunk: a ring of ribs 20 mm under the skin around lungs and vertebrae."""
    x, y, z = grid(shape, spacing)
    skin = (x / 165) ** 2 + (y / 110) ** 2 + 0 * z <= 1
    ribs = ((x / 145) ** 2 + (y / 88) ** 2 <= 1) & ((x / 137) ** 2 + (y / 80) ** 2 > 1)
    lungs = ((np.abs(x) - 65) / 55) ** 2 + (y / 70) ** 2 <= 1
    vertebrae = (x / 18) ** 2 + ((y + 70) / 20) ** 2 <= 1
    labels = np.zeros(shape, np.uint8)
    labels[np.broadcast_to(lungs, shape) & (x < 0)] = label_id("left lung upper lobe")
    labels[np.broadcast_to(lungs, shape) & (x > 0)] = label_id("right lung upper lobe")
    labels[np.broadcast_to(vertebrae, shape)] = label_id("vertebrae T8")
    labels[np.broadcast_to(ribs, shape) & (x < 0)] = label_id("left rib 7")
    labels[np.broadcast_to(ribs, shape) & (x > 0)] = label_id("right rib 7")
    return labels, skin


def label_id(name):
    return load_vocabulary().find(name).id


def ball(center, radius, name):
    """A label map with one round organ, ``center`` in mm of :func:`grid`."""
    x, y, z = grid()
    inside = (x - center[0]) ** 2 + (y - center[1]) ** 2 + (z - center[2]) ** 2 <= radius**2
    return np.where(inside, np.uint8(label_id(name)), np.uint8(0))


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_ribs_and_lungs_give_back_the_outline_of_the_trunk_around_them():
    labels, skin = trunk()
    assert dice(body_from_labels(volume(labels)), skin) > 0.95


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.5), (4.0, 4.0, 10.0)])
def test_the_outline_is_the_same_at_other_spacings(spacing):
    shape = tuple(round(n * a / b) for n, a, b in zip(SHAPE, SPACING, spacing, strict=True))
    labels, skin = trunk(shape, spacing)
    envelope = body_from_labels(volume(labels, spacing))
    assert envelope.shape == shape
    assert dice(envelope, skin) > 0.95


def test_slices_without_labels_take_over_the_outline_of_those_around():
    labels, skin = trunk()
    labels[:, :, :8] = labels[:, :, 16:24] = labels[:, :, 34:] = 0
    envelope = body_from_labels(volume(labels))
    assert min(dice(envelope[:, :, k], skin[:, :, k]) for k in range(SHAPE[2])) > 0.93


def test_one_lung_and_the_spine_are_enough_to_know_the_other_side():
    labels, skin = trunk()
    x, _, _ = grid()
    labels[np.broadcast_to(x < -20, SHAPE)] = 0
    assert dice(body_from_labels(volume(labels)), skin) > 0.85


def test_a_single_organ_gives_a_body_around_it_that_does_not_fill_the_grid():
    labels = ball((70, 20, 100), 50, "liver")
    envelope = body_from_labels(volume(labels))
    assert envelope[labels > 0].all()
    assert envelope.any(axis=(0, 1)).all()
    assert 0.15 < envelope.mean() < 0.75
    assert not envelope[0].any() and not envelope[-1].any()


@pytest.mark.parametrize("name", ["spinal cord", "left kidney", "bladder", "left humerus", "esophagus"])
def test_each_label_lies_under_the_skin_and_not_on_it(name):
    labels = ball((0, 0, 100), 14, name)
    envelope = body_from_labels(volume(labels))
    x, y, z = grid()
    assert envelope[(x**2 + y**2 + (z - 100) ** 2) <= 17**2].all()


def test_a_label_of_one_voxel_is_not_lost_between_the_coarse_samples():
    labels = np.zeros((60, 60, 30), np.uint8)
    labels[21, 33, 17] = label_id("thyroid gland")
    envelope = body_from_labels(volume(labels, (1.5, 1.5, 1.5)))
    assert envelope[21, 33, 17]
    assert envelope.mean() > 0.3


def test_the_body_ends_above_the_skull():
    labels = ball((0, 0, 60), 50, "brain")
    envelope = body_from_labels(volume(labels))
    z = grid()[2].ravel()
    assert envelope[:, :, z == 110].any()
    assert not envelope[:, :, z > 130].any()


def test_thighs_are_two_with_air_between_them():
    x, y, _ = grid()
    labels = np.zeros(SHAPE, np.uint8)
    for side, center in (("left", -105), ("right", 105)):
        labels[np.broadcast_to((x - center) ** 2 + y**2 <= 14**2, SHAPE)] = label_id(f"{side} femur")
    envelope = body_from_labels(volume(labels))
    middle = SHAPE[0] // 2
    assert not envelope[middle].any()
    areas = envelope.sum(axis=(0, 1)) * SPACING[0] * SPACING[1] / 100
    assert areas.min() > 2 * 140  # cm²; a thigh has about 200
    assert areas.max() < 2 * 260


def test_arms_beside_the_trunk_stay_apart_from_it():
    shape = (150, 72, 40)
    labels, _ = trunk(shape)
    x, y, _ = grid(shape)
    labels[np.broadcast_to((x + 235) ** 2 + y**2 <= 11**2, labels.shape)] = label_id("left humerus")
    envelope = body_from_labels(volume(labels))
    starts = np.count_nonzero(np.diff(envelope[:, 36, 20].astype(int)) == 1)
    assert starts == 2


def test_few_labels_are_reported_as_a_guess_and_many_are_not():
    full, _ = trunk()
    few = ball((0, -60, 100), 12, "spinal cord")
    assert envelope_confidence(volume(full)) > 0.95
    assert envelope_confidence(volume(few)) < 0.4
    assert body_finding(volume(full)) is None
    finding = body_finding(volume(few))
    assert finding is not None
    assert (finding.severity, finding.code) == ("warning", "body-guess")


@pytest.mark.parametrize("content", [0, 200])
def test_a_map_without_organs_is_refused(content):
    with pytest.raises(InputError, match="no organ"):
        body_from_labels(volume(np.full((10, 10, 10), content, np.uint8)))


def test_axes_other_than_ras_are_refused():
    with pytest.raises(InputError, match="RAS"):
        body_from_labels(Volume(trunk()[0], np.diag([-4.0, 4.0, 5.0, 1.0])))


def test_a_grid_of_one_voxel_is_handled():
    labels = np.full((1, 1, 1), label_id("liver"), np.uint8)
    assert body_from_labels(volume(labels, (1.0, 1.0, 1.0))).all()


def ct_with_couch():
    """HU of the trunk with air in the lungs, an arm beside it, and a couch that touches its back."""
    shape = (130, 80, 12)
    x, y, _ = grid(shape)
    skin = np.broadcast_to((x / 165) ** 2 + (y / 110) ** 2 <= 1, shape)
    arm = np.broadcast_to((x - 215) ** 2 + y**2 <= 40**2, shape)
    hu = np.full(shape, -1000, np.int16)
    hu[skin | arm] = 30
    hu[np.broadcast_to(((np.abs(x) - 65) / 55) ** 2 + (y / 70) ** 2 <= 1, shape)] = -850
    couch = np.broadcast_to((np.abs(y + 114) < 5) & (np.abs(x) < 230), shape)
    hu[couch & ~skin] = 100
    return hu, skin | arm


def test_a_ct_gives_body_with_lungs_and_arms_but_without_the_couch():
    hu, body = ct_with_couch()
    envelope = body_from_ct(volume(hu))
    assert envelope[body].mean() > 0.995
    assert np.count_nonzero(envelope & ~body) < 0.02 * np.count_nonzero(body)


def test_a_ct_filled_with_tissue_is_all_body():
    assert body_from_ct(volume(np.full((20, 20, 5), 40, np.int16))).all()


def test_a_ct_of_air_holds_no_body():
    assert not body_from_ct(volume(np.full((20, 20, 5), -1000, np.int16))).any()


def test_adding_the_body_changes_unlabeled_voxels_only():
    labels, skin = trunk()
    filled = add_body(volume(labels)).array
    assert filled.dtype == np.uint8
    assert (filled[labels > 0] == labels[labels > 0]).all()
    assert set(np.unique(filled[labels == 0])) == {0, 200}
    assert dice(filled > 0, skin) > 0.95


def test_the_ct_decides_where_one_is_given():
    labels = np.zeros((130, 80, 12), np.uint8)
    labels[60:70, 30:50] = label_id("liver")
    hu, body = ct_with_couch()
    assert dice(add_body(volume(labels), volume(hu)).array > 0, body) > 0.98


def test_a_ct_on_another_grid_is_refused():
    hu, _ = ct_with_couch()
    with pytest.raises(InputError, match="different grids"):
        add_body(volume(trunk()[0]), volume(hu))


def bundled_maps():
    """Those without a body envelope: it has to be estimated."""
    maps = sorted(resource_path("Cases").glob("*/labels.nii.gz"))
    return [path for path in maps if not (read_label_file(path)[0] == BODY).any()]


@pytest.mark.parametrize("path", bundled_maps(), ids=lambda path: path.parent.name)
def test_the_envelope_of_a_bundled_map_is_one_plausible_body(path):
    image = nib.as_closest_canonical(nib.load(path))
    labels = Volume(np.asarray(image.dataobj).astype(np.uint8), image.affine)
    envelope = body_from_labels(labels)
    assert envelope[labels.array > 0].all()
    areas = envelope.sum(axis=(0, 1)) * np.prod(labels.spacing[:2]) / 100
    assert areas.min() > 100 and areas.max() < 1500  # cm²
    grown = np.abs(np.diff(areas)).max() / labels.spacing[2]
    assert grown < 60  # cm² per mm: no jumps between slices
    assert body_finding(labels) is None


def test_the_coarse_depth_is_interpolated_linearly_to_the_full_grid():
    depth = np.random.default_rng(0).normal(0, 10, (9, 8, 7)).astype(np.float32)
    factors, shape = (5, 4, 3), (47, 33, 20)
    index = [(np.arange(n) - f // 2) / f for n, f in zip(shape, factors, strict=True)]
    exact = ndimage.map_coordinates(depth.astype(float), np.meshgrid(*index, indexing="ij"), order=1, mode="nearest")
    certain = np.abs(exact) > 1e-4
    assert certain.mean() > 0.99
    assert np.array_equal(_upsample(depth, shape, factors)[certain], exact[certain] > 0)


def test_the_ends_of_rows_are_those_of_each_class_looked_at_alone():
    classes = np.random.default_rng(0).integers(-1, len(SKIN_DEPTHS), (9, 5, 4)).astype(np.int16)
    classes[:, 2] = -1
    first, last = _row_ends(classes)
    for index in range(len(SKIN_DEPTHS)):
        for y, z in np.ndindex(5, 4):
            voxels = np.flatnonzero(classes[:, y, z] == index)
            assert last[index, y, z] == (voxels[-1] if len(voxels) else -1)
            assert not len(voxels) or first[index, y, z] == voxels[0]
