"""Numbers of a label map become MAISI ids: by scheme, by the places of organs, by names, by a map."""

from __future__ import annotations

import json

import nibabel as nib
import nrrd
import numpy as np
import pytest

from SynthCTLib.errors import AmbiguousInputError, InputError
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.reading import read_segmentation
from SynthCTLib.resources import resource_path
from Testing.library.label_maps import (
    AFFINE,
    BODY,
    COLON,
    LEFT_KIDNEY,
    LIVER,
    RIGHT_KIDNEY,
    SPLEEN,
    blocks,
    codes_of,
    save,
    slicer_header,
)


def test_a_maisi_map_with_body_is_recognized_and_said(tmp_path):
    array = blocks({LIVER: (4, 4, 4), BODY: (9, 9, 9)})
    result = read_segmentation(save(tmp_path / "a.nii.gz", array))
    assert (result.format, result.scheme) == ("nifti", "maisi")
    assert np.array_equal(result.volume.array, array) and result.volume.array.dtype == np.uint8
    assert np.allclose(result.volume.affine, AFFINE)
    assert "200 (body)" in next(n for n in result.notes if n.code == "scheme-detected").message


def test_ids_that_only_totalsegmentator_uses_are_read_as_such(tmp_path):
    result = read_segmentation(save(tmp_path / "a.nii", blocks({2: (4, 4, 4), 5: (9, 9, 9)})))
    assert result.scheme == "totalsegmentator"
    assert result.volume.array[4, 4, 4] == RIGHT_KIDNEY and result.volume.array[9, 9, 9] == LIVER


@pytest.mark.parametrize("scheme", ["maisi", "totalsegmentator"])
def test_places_of_organs_decide_where_ids_exist_in_both_schemes(tmp_path, scheme):
    image = nib.load(resource_path("Cases", "totalseg_s0327_abdomen_pelvis", "labels.nii.gz"))
    lookup = np.zeros(256, dtype=np.uint8)
    for label in load_vocabulary().labels:
        number = label.id if scheme == "maisi" else label.totalsegmentator_id
        if number and number < 118 and number not in (2, 16, 18, 20, 21) and label.totalsegmentator_id:
            lookup[label.id] = number
    array = lookup[np.asarray(image.dataobj)][::3, ::3, ::3]
    path = save(tmp_path / "a.nii.gz", array, image.affine @ np.diag([3, 3, 3, 1]))
    assert read_segmentation(path).scheme == scheme


def test_ids_that_fit_two_schemes_make_the_user_choose(tmp_path):
    path = save(tmp_path / "a.nii.gz", blocks({1: (4, 4, 4), 6: (9, 9, 9)}))
    with pytest.raises(AmbiguousInputError, match="MAISI ids or TotalSegmentator") as caught:
        read_segmentation(path)
    assert (caught.value.setting, caught.value.choices) == ("labels", ["maisi", "totalsegmentator"])
    assert read_segmentation(path, "maisi").volume.array[4, 4, 4] == LIVER
    assert read_segmentation(path, "totalsegmentator").volume.array[4, 4, 4] == SPLEEN


def test_names_in_the_header_of_a_totalsegmentator_map_decide(tmp_path):
    image = nib.Nifti1Image(blocks({1: (4, 4, 4), 6: (9, 9, 9)}), AFFINE)
    table = '<Label Key="1" Red="1"><![CDATA[colon]]></Label><Label Key="6"><![CDATA[kidney_left]]></Label>'
    xml = f"<CaretExtension><LabelTable>{table}</LabelTable></CaretExtension>"
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, xml.encode()))
    nib.save(image, tmp_path / "a.nii.gz")
    result = read_segmentation(tmp_path / "a.nii.gz")
    assert result.scheme == "names"
    assert result.volume.array[4, 4, 4] == COLON and result.volume.array[9, 9, 9] == LEFT_KIDNEY


def test_a_json_map_gives_numbers_their_meaning(tmp_path):
    path = save(tmp_path / "a.nii.gz", blocks({7: (4, 4, 4), 1000: (9, 9, 9), 3: (12, 4, 4)}, dtype=np.uint16))
    (tmp_path / "map.json").write_text(json.dumps({"7": "Liver", "1000": 62, "3": None}))
    result = read_segmentation(path, label_map=tmp_path / "map.json")
    assert result.scheme == "map"
    assert set(np.unique(result.volume.array)) == {0, LIVER, COLON}


@pytest.mark.parametrize(
    ("label_map", "words"),
    [
        ({"7": "livr"}, "Liver"),
        ({"7": 2}, "reserves"),
        ({"7": 300}, "does not exist"),
        ({"7": 1.5}, "name or a MAISI id"),
        ({"8": "liver"}, "id 7"),
        ({}, "JSON object"),
    ],
)
def test_a_wrong_json_map_is_explained(tmp_path, label_map, words):
    path = save(tmp_path / "a.nii.gz", blocks({7: (4, 4, 4)}))
    with pytest.raises(InputError, match=words):
        read_segmentation(path, label_map=label_map)


def test_a_json_map_that_is_no_json_is_explained(tmp_path):
    (tmp_path / "map.json").write_text("{7: liver")
    path = save(tmp_path / "a.nii.gz", blocks({7: (4, 4, 4)}))
    with pytest.raises(InputError, match="no valid JSON"):
        read_segmentation(path, label_map=tmp_path / "map.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_segmentation(path, label_map=tmp_path / "none.json")


def test_an_nrrd_map_is_read_like_nifti(tmp_path):
    array = blocks({LIVER: (4, 4, 4), BODY: (9, 9, 9)})
    nrrd.write(str(tmp_path / "a.nrrd"), array, slicer_header([]))
    result = read_segmentation(tmp_path / "a.nrrd")
    assert (result.format, result.scheme) == ("nrrd", "maisi")
    assert np.array_equal(result.volume.array, array) and np.allclose(result.volume.affine, AFFINE)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16, np.uint16, np.int64])
def test_whole_numbers_of_any_type_are_fine(tmp_path, dtype):
    array = blocks({LIVER: (4, 4, 4), BODY: (9, 9, 9)})
    image = nib.Nifti1Image(array.astype(dtype), AFFINE, dtype=dtype)
    nib.save(image, tmp_path / "a.nii.gz")
    assert np.array_equal(read_segmentation(tmp_path / "a.nii.gz").volume.array, array)


def test_a_fourth_axis_of_one_is_dropped(tmp_path):
    path = save(tmp_path / "a.nii.gz", blocks({BODY: (4, 4, 4)})[..., None])
    assert read_segmentation(path).volume.shape == (16, 14, 12)


def test_a_single_voxel_is_a_label_map(tmp_path):
    result = read_segmentation(save(tmp_path / "a.nii.gz", np.full((1, 1, 1), BODY, dtype=np.uint8)))
    assert result.volume.shape == (1, 1, 1) and result.volume.array[0, 0, 0] == BODY


def test_without_an_orientation_axes_are_taken_as_ras_and_said(tmp_path):
    image = nib.Nifti1Image(blocks({BODY: (4, 4, 4)}), None)
    image.header.set_zooms((1.5, 2.0, 3.0))
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nib.save(image, tmp_path / "a.nii.gz")
    nrrd.write(str(tmp_path / "a.nrrd"), blocks({BODY: (4, 4, 4)}), {"spacings": [1.5, 2.0, 3.0]})
    for name in ("a.nii.gz", "a.nrrd"):
        result = read_segmentation(tmp_path / name)
        assert np.allclose(result.volume.affine, np.diag([1.5, 2.0, 3.0, 1.0]))
        assert "missing-orientation" in codes_of(result.notes)
