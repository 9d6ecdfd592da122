"""The preview: sides, proportions and colors are true, and it says what it is."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from SynthCTLib.labels import load_vocabulary
from SynthCTLib.output import DISCLAIMER
from SynthCTLib.preview import PLANES, TILE_PIXELS, _gray, center_of_labels, cut_plane, write_preview
from SynthCTLib.volume import Volume

AXIAL, CORONAL, SAGITTAL = PLANES


def with_one(index: tuple[int, int, int]) -> np.ndarray:
    array = np.zeros((5, 6, 7), np.uint8)
    array[index] = 1
    return array


def test_the_patients_right_front_and_head_are_where_the_letters_say() -> None:
    # The array runs toward right, anterior, superior: its last voxel is the rightmost, foremost, topmost one.
    array, cuts = with_one((4, 5, 6)), (4, 5, 6)
    for plane in PLANES:
        assert np.argwhere(cut_plane(array, plane, cuts)).tolist() == [[0, 0]]
    assert (AXIAL.left, AXIAL.top) == ("R", "A")
    assert (CORONAL.left, CORONAL.top) == ("R", "S")
    assert (SAGITTAL.left, SAGITTAL.top) == ("A", "S")


def test_pictures_have_the_proportions_of_the_patient() -> None:
    volume = Volume(np.zeros((10, 20, 30), np.int16), np.diag([4.0, 2.0, 3.0, 1.0]))
    sizes = {plane.name: _gray(volume, plane, (0, 0, 0), 2.0, 400, 40).size for plane in PLANES}
    assert sizes == {"axial": (80, 80), "coronal": (80, 180), "sagittal": (80, 180)}


def test_the_cuts_go_through_the_middle_of_the_organs_and_not_of_the_body() -> None:
    labels = np.full((20, 20, 20), 200, np.uint8)
    labels[2:5, 10:13, 15:18] = 1
    assert center_of_labels(labels) == (3, 11, 16)
    assert center_of_labels(np.full((8, 6, 4), 200, np.uint8)) == (4, 3, 2)


def test_organs_have_their_color_at_their_side_and_the_body_stays_gray(tmp_path: Path) -> None:
    labels = np.full((40, 40, 40), 200, np.uint8)
    labels[28:38, 15:25, 15:25] = 1  # liver, on the right
    hu = np.zeros(labels.shape, np.int16)
    write_preview(tmp_path / "p.png", Volume(hu, np.eye(4)), Volume(labels, np.eye(4)), "test")
    picture = np.asarray(Image.open(tmp_path / "p.png").convert("RGB")).astype(int)
    saturation = picture.max(axis=2) - picture.min(axis=2)
    red, green, blue = load_vocabulary().by_id(1).color
    assert red > green > blue
    rows, columns = np.nonzero(saturation > 40)
    axial = columns < TILE_PIXELS + 10
    assert axial.any() and columns[axial].max() < 10 + TILE_PIXELS / 2
    assert (picture[rows, columns, 0] > picture[rows, columns, 2]).all()


def test_an_input_of_any_orientation_gives_the_same_picture(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    labels = Volume(generator.integers(0, 3, (12, 14, 16)).astype(np.uint8), np.diag([2.0, 3.0, 4.0, 1.0]))
    hu = labels.with_array(generator.integers(-1000, 1000, labels.shape).astype(np.int16))
    turned = []
    for volume in (hu, labels):
        image = nib.Nifti1Image(volume.array, volume.affine)
        start, end = nib.io_orientation(volume.affine), nib.orientations.axcodes2ornt("PSL")
        other = image.as_reoriented(nib.orientations.ornt_transform(start, end))
        turned.append(Volume(np.asarray(other.dataobj), other.affine))
    write_preview(tmp_path / "a.png", hu, labels, "test")
    write_preview(tmp_path / "b.png", *turned, "test")
    assert turned[0].orientation == "PSL"
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_file_says_that_it_is_synthetic(tmp_path: Path) -> None:
    volume = Volume(np.zeros((8, 8, 8), np.int16), np.eye(4))
    write_preview(tmp_path / "p.png", volume, volume.with_array(np.zeros((8, 8, 8), np.uint8)), "Model X, seed 3")
    assert Image.open(tmp_path / "p.png").text["Description"] == f"{DISCLAIMER}. Model X, seed 3"


def test_lungs_bring_a_row_in_the_lung_window(tmp_path: Path) -> None:
    heights = []
    for label in (1, 28):
        labels = np.full((16, 16, 16), label, np.uint8)
        hu = Volume(np.zeros((16, 16, 16), np.int16), np.eye(4))
        write_preview(tmp_path / "p.png", hu, hu.with_array(labels), "test")
        heights.append(Image.open(tmp_path / "p.png").height)
    assert heights[1] > heights[0] + TILE_PIXELS


def test_volumes_of_different_shape_are_refused(tmp_path: Path) -> None:
    hu = Volume(np.zeros((8, 8, 8), np.int16), np.eye(4))
    with pytest.raises(ValueError, match="same shape"):
        write_preview(tmp_path / "p.png", hu, hu.with_array(np.zeros((8, 8, 9), np.uint8)), "test")


def test_the_middle_of_the_organs_is_the_mean_of_their_voxels() -> None:
    labels = np.random.default_rng(0).choice(np.array([0, 1, 28, 200], np.uint8), (19, 22, 25), p=[0.6, 0.1, 0.1, 0.2])
    labels[:, 15:] = 0
    organs = np.argwhere((labels != 0) & (labels != 200))
    assert center_of_labels(labels) == tuple(np.rint(organs.mean(axis=0)).astype(int).tolist())
