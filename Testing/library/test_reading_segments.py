"""Segmentations of Slicer and folders of masks become one label map in MAISI ids."""

from __future__ import annotations

import nrrd
import numpy as np
import pytest

from SynthCTLib.errors import InputError
from SynthCTLib.reading import read_segmentation
from Testing.library.label_maps import (
    AFFINE,
    BODY,
    COLON,
    HEPATIC_TUMOR,
    LIVER,
    RIGHT_KIDNEY,
    SPLEEN,
    blocks,
    codes_of,
    save,
    segment,
    slicer_header,
)


def test_names_and_not_numbers_decide_in_a_slicer_segmentation(tmp_path):
    array = blocks({1: (4, 4, 4), 2: (9, 9, 9)})
    nrrd.write(str(tmp_path / "a.seg.nrrd"), array, slicer_header([segment("Spleen", 1), segment("right kidney", 2)]))
    result = read_segmentation(tmp_path / "a.seg.nrrd")
    assert (result.format, result.scheme) == ("seg.nrrd", "names")
    assert result.volume.array[4, 4, 4] == SPLEEN and result.volume.array[9, 9, 9] == RIGHT_KIDNEY
    assert np.allclose(result.volume.affine, AFFINE)


def test_own_tag_comes_before_terminology_and_terminology_before_name(tmp_path):
    kidney = "SCT^123037004^Anatomical Structure~SCT^64033007^Kidney~SCT^24028007^Right"
    entry = f"TerminologyEntry:Some context~{kidney}~Some context~^^~^^"
    tissue = "TerminologyEntry:Some context~SCT^85756007^Tissue~SCT^85756007^Tissue~^^~Some context~^^~^^"
    segments = [
        segment("spleen", 1, tags=f"{tissue}|SynthCT.LabelId:62|"),
        segment("spleen", 2, tags=f"Segmentation.Status:inprogress|{entry}|"),
        segment("liver", 3, tags=f"{tissue}|"),
    ]
    nrrd.write(
        str(tmp_path / "a.seg.nrrd"), blocks({1: (4, 4, 4), 2: (9, 9, 9), 3: (4, 9, 9)}), slicer_header(segments)
    )
    result = read_segmentation(tmp_path / "a.seg.nrrd")
    array = result.volume.array
    assert (array[4, 4, 4], array[9, 9, 9], array[4, 9, 9]) == (COLON, RIGHT_KIDNEY, LIVER)
    assert {"renamed", "name-and-terminology"} <= set(codes_of(result.notes))


def test_overlapping_layers_are_reported_and_the_lesion_or_smaller_structure_wins(tmp_path):
    organ, tumor, body = np.zeros((3, 16, 14, 12), dtype=np.uint8)
    organ[2:5, 2:5, 2:5] = 1
    tumor[2:10, 2:10, 2:10] = 1  # the lesion wins even where it is the larger one
    body[1:15, 1:13, 1:11] = 1
    body[2:5, 2:5, 2:5] = 2  # spleen on top of the tumor and of the liver, of the liver's size
    body[2, 2, 2] = 1
    segments = [segment("liver", 1, 0), segment("hepatic tumor", 1, 1), segment("body", 1, 2), segment("spleen", 2, 2)]
    nrrd.write(str(tmp_path / "a.seg.nrrd"), np.stack([organ, tumor, body]), slicer_header(segments, layered=True))
    result = read_segmentation(tmp_path / "a.seg.nrrd")
    assert set(np.unique(result.volume.array)) == {0, HEPATIC_TUMOR, BODY}
    assert result.volume.array[3, 3, 3] == HEPATIC_TUMOR and result.volume.array[12, 11, 3] == BODY
    note = next(n for n in result.notes if n.code == "overlap")
    assert note.labels == (LIVER, SPLEEN, HEPATIC_TUMOR)


def test_the_smaller_of_two_overlapping_organs_wins_in_any_order(tmp_path):
    large, small = np.zeros((2, 8, 8, 8), dtype=np.uint8)
    large[1:7, 1:7, 1:7] = 1
    small[3:5, 3:5, 3:5] = 1
    for number, order in enumerate([("colon", large, "aorta", small), ("aorta", small, "colon", large)]):
        segments = [segment(order[0], 1, 0), segment(order[2], 1, 1)]
        path = tmp_path / f"{number}.seg.nrrd"
        nrrd.write(str(path), np.stack([order[1], order[3]]), slicer_header(segments, layered=True))
        array = read_segmentation(path).volume.array
        assert (array == 6).sum() == 8 and (array == COLON).sum() == 216 - 8


def test_segments_of_slicer_before_4_11_are_one_per_layer(tmp_path):
    layers = np.stack([blocks({1: (4, 4, 4)}), blocks({1: (9, 9, 9)})])
    segments = [{"ID": "a", "Name": "liver"}, {"ID": "b", "Name": "spleen"}]
    nrrd.write(str(tmp_path / "a.seg.nrrd"), layers, slicer_header(segments, layered=True))
    array = read_segmentation(tmp_path / "a.seg.nrrd").volume.array
    assert array[4, 4, 4] == LIVER and array[9, 9, 9] == SPLEEN


def test_empty_and_doubled_segments_are_said(tmp_path):
    segments = [segment("liver", 1), segment("hepar", 2), segment("spleen", 7)]
    nrrd.write(str(tmp_path / "a.seg.nrrd"), blocks({1: (4, 4, 4), 2: (9, 9, 9)}), slicer_header(segments))
    result = read_segmentation(tmp_path / "a.seg.nrrd")
    assert set(np.unique(result.volume.array)) == {0, LIVER}
    assert {"empty-segment", "segments-joined"} <= set(codes_of(result.notes))


def test_unknown_segments_are_named_with_the_nearest_labels_and_a_map_helps(tmp_path):
    nrrd.write(str(tmp_path / "a.seg.nrrd"), blocks({1: (4, 4, 4)}), slicer_header([segment("Livver", 1)]))
    with pytest.raises(InputError, match=r"Livver.*Liver"):
        read_segmentation(tmp_path / "a.seg.nrrd")
    assert read_segmentation(tmp_path / "a.seg.nrrd", label_map={"Livver": "liver"}).scheme == "map"
    with pytest.raises(InputError, match="does not apply"):
        read_segmentation(tmp_path / "a.seg.nrrd", "maisi")


def test_a_damaged_list_of_segments_is_explained(tmp_path):
    array = blocks({1: (4, 4, 4)})
    nrrd.write(str(tmp_path / "a.seg.nrrd"), array, slicer_header([segment("liver", 1) | {"LabelValue": "one"}]))
    nrrd.write(str(tmp_path / "b.seg.nrrd"), array, slicer_header([segment("liver", 1, layer=3)]))
    for name, words in (("a", "damaged"), ("b", "layers")):
        with pytest.raises(InputError, match=words):
            read_segmentation(tmp_path / f"{name}.seg.nrrd")


def test_a_folder_of_masks_is_composed_by_file_name(tmp_path):
    save(tmp_path / "liver.nii.gz", blocks({1: (5, 5, 5)}).astype(np.float32))
    tiny = np.zeros((16, 14, 12), dtype=np.uint8)
    tiny[5, 5, 5] = 255
    save(tmp_path / "gallbladder.nii.gz", tiny)
    save(tmp_path / "kidney_left.nii.gz", np.zeros((16, 14, 12), dtype=np.uint8))
    (tmp_path / "statistics.json").write_text("{}")
    (tmp_path / "._liver.nii.gz").write_bytes(b"what macOS leaves behind")
    result = read_segmentation(tmp_path)
    assert (result.format, result.scheme) == ("folder", "names")
    assert (result.volume.array == LIVER).sum() == 26 and result.volume.array[5, 5, 5] == 10
    assert codes_of(result.notes) == ["overlap"]


def test_folders_that_are_no_sets_of_masks_are_explained(tmp_path):
    with pytest.raises(InputError, match="holds no masks"):
        read_segmentation(tmp_path)
    save(tmp_path / "liver.nii.gz", blocks({1: (5, 5, 5)}))
    save(tmp_path / "splen.nii.gz", blocks({1: (5, 5, 5)}))
    with pytest.raises(InputError, match=r"splen.*Spleen"):
        read_segmentation(tmp_path)
    (tmp_path / "splen.nii.gz").rename(tmp_path / "spleen.nii.gz")
    save(tmp_path / "spleen.nii.gz", blocks({1: (5, 5, 5)}), np.diag([2.0, 2, 2, 1]))
    with pytest.raises(InputError, match="another grid"):
        read_segmentation(tmp_path)
    save(tmp_path / "spleen.nii.gz", blocks({1: (5, 5, 5), 2: (9, 9, 9)}))
    with pytest.raises(InputError, match="several labels"):
        read_segmentation(tmp_path)
