"""Every kind of segmentation becomes one label map in MAISI ids, or one sentence says why not."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest

from SynthCTLib import reading_nifti
from SynthCTLib.errors import AmbiguousInputError, InputError
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.reading import read_image, read_segmentation
from SynthCTLib.resources import resource_path
from SynthCTLib.slabs import slabs

LIVER, SPLEEN, RIGHT_KIDNEY, LEFT_KIDNEY, HEPATIC_TUMOR, COLON, BODY = 1, 3, 5, 14, 26, 62, 200
AFFINE = np.array([[-2.0, 0, 0, 60], [0, -2.0, 0, 70], [0, 0, 3.0, -30], [0, 0, 0, 1]])


def blocks(ids: dict[int, tuple[int, int, int]], shape=(16, 14, 12), dtype=np.uint8) -> np.ndarray:
    """A map with a block of 3³ voxels of each id, centered on the given voxel."""
    array = np.zeros(shape, dtype=dtype)
    for label, (x, y, z) in ids.items():
        array[x - 1 : x + 2, y - 1 : y + 2, z - 1 : z + 2] = label
    return array


def save(path: Path, array: np.ndarray, affine=AFFINE) -> Path:
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def slicer_header(segments: list[dict[str, str]], layered: bool = False) -> dict:
    """The header that Slicer writes; AFFINE in LPS."""
    rows = [[2.0, 0, 0], [0, 2.0, 0], [0, 0, 3.0]]
    header = {
        "space": "left-posterior-superior",
        "space directions": np.array([[np.nan] * 3, *rows] if layered else rows),
        "space origin": [-60.0, -70.0, -30.0],
        "kinds": ["list", "domain", "domain", "domain"] if layered else ["domain"] * 3,
    }
    for number, segment in enumerate(segments):
        header.update({f"Segment{number}_{key}": value for key, value in segment.items()})
    return header


def segment(name: str, value: int, layer: int = 0, tags: str = "") -> dict[str, str]:
    return {"ID": f"Segment_{value}", "Name": name, "LabelValue": str(value), "Layer": str(layer), "Tags": tags}


def codes_of(notes) -> list[str]:
    return [note.code for note in notes]


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


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 4, 4), dtype=np.uint8), "empty"),
        (np.full((4, 4, 4), 133, dtype=np.uint8), "id 133"),
        (blocks({2: (4, 4, 4), BODY: (9, 9, 9)}), "reserves and never uses"),
        (np.full((4, 4, 4), -1024, dtype=np.int16), "CT image"),
        (np.full((4, 4, 4), 70000, dtype=np.int32), "70000"),
        (np.full((4, 4, 4), 0.37, dtype=np.float32), "not whole numbers"),
        (np.full((4, 4, 4), np.nan, dtype=np.float32), "NaN"),
        (np.full((4, 4, 4), np.inf, dtype=np.float64), "infinite"),
        (np.ones((4, 4), dtype=np.uint8), "2 dimensions"),
        (np.ones((4, 4, 4, 2), dtype=np.uint8), "4 dimensions"),
        (np.ones((4, 4, 4), dtype=np.complex64), "complex"),
        (np.ones((4, 4, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]), "colors"),
    ],
)
def test_what_is_no_label_map_is_refused_in_one_sentence(tmp_path, array, words):
    with pytest.raises(InputError, match=words) as caught:
        read_segmentation(save(tmp_path / "a.nii.gz", array), "maisi")
    assert "\n" not in str(caught.value)


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


def test_an_orientation_that_spans_no_space_is_refused(tmp_path):
    image = nib.Nifti1Image(blocks({BODY: (4, 4, 4)}), AFFINE)
    image.set_sform(np.diag([2.0, 2.0, 0.0, 1.0]), 1)
    nib.save(image, tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match="orientation"):
        read_segmentation(tmp_path / "a.nii.gz")


def test_damaged_files_are_explained_in_one_sentence(tmp_path):
    noise = np.random.default_rng(0).integers(1, 99, (40, 40, 40)).astype(np.uint8)
    data = save(tmp_path / "good.nii.gz", noise).read_bytes()
    nrrd.write(str(tmp_path / "good.nrrd"), noise, slicer_header([]))
    raw = (tmp_path / "good.nrrd").read_bytes()
    cases = {
        "cut.nii.gz": data[: len(data) // 2],
        "flipped.nii.gz": data[:400] + bytes(255 - b for b in data[400:460]) + data[460:],
        "nothing.nii.gz": b"",
        "garbage.nii.gz": gzip.compress(b"not an image" * 100),
        "text.nii": b"hello",
        "text.nrrd": b"hello",
        "cut.nrrd": raw[: len(raw) // 2],
        "header.nrrd": b"NRRD0004\ntype: uint8\n",
        "short.nii": gzip.decompress(data)[:3000],
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=r"cannot be read") as caught:
            read_segmentation(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_other_formats_and_missing_files_are_explained(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"x")
    with pytest.raises(InputError, match="none of the formats"):
        read_segmentation(tmp_path / "a.dcm")
    with pytest.raises(InputError, match="does not exist"):
        read_segmentation(tmp_path / "b.nii.gz")
    with pytest.raises(InputError, match="scheme 'vista'"):
        read_segmentation(tmp_path / "a.dcm", "vista")
    with pytest.raises(InputError, match="needs a JSON file"):
        read_segmentation(tmp_path / "a.dcm", "map")


def test_a_header_that_claims_more_than_1024_cubed_voxels_is_refused_before_memory_is_taken(tmp_path):
    header = nib.Nifti1Header()
    header.set_data_shape((2048, 2048, 2048))
    header.set_data_dtype(np.uint8)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    (tmp_path / "a.nii").write_bytes(header.binaryblock + bytes(4))
    with pytest.raises(InputError, match="1024³"):
        read_segmentation(tmp_path / "a.nii")


@pytest.mark.slow
def test_1024_cubed_voxels_are_read_in_little_more_than_their_own_size(tmp_path):
    header = nib.Nifti1Header()
    header.set_data_shape((1024, 1024, 1024))
    header.set_data_dtype(np.uint8)
    header.set_sform(AFFINE, 1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    with (tmp_path / "a.nii").open("wb") as file:  # a sparse file: takes no disk
        file.write(header.binaryblock + bytes(4))
        file.seek(352 + 1024**2 * 1000)
        file.write(bytes([BODY]) * 1024)
        file.truncate(352 + 1024**3)
    tracemalloc.start()
    result = read_segmentation(tmp_path / "a.nii")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.volume.shape == (1024, 1024, 1024) and (result.volume.array[:, 0, 1000] == BODY).all()
    assert peak < 2.5 * 1024**3


def test_a_ct_is_read_in_hu_and_must_hold_numbers(tmp_path):
    values = np.linspace(-1000, 1000, 64, dtype=np.float32).reshape(4, 4, 4)
    image = read_image(save(tmp_path / "ct.nii.gz", values))
    assert image.array.dtype == np.float32 and np.allclose(image.array, values)
    nrrd.write(str(tmp_path / "ct.nrrd"), values.astype(np.int16), slicer_header([]))
    assert read_image(tmp_path / "ct.nrrd").array[0, 0, 0] == -1000
    with pytest.raises(InputError, match="not numbers"):
        read_image(save(tmp_path / "nan.nii.gz", np.full((4, 4, 4), np.nan, dtype=np.float32)))


def test_a_scaled_ct_is_read_in_pieces_without_a_volume_in_double_precision(tmp_path, monkeypatch):
    stored = np.random.default_rng(0).integers(0, 4096, (64, 64, 200)).astype(np.int16)
    image = nib.Nifti1Image(stored, AFFINE)
    image.header.set_slope_inter(0.5, -1024.25)
    nib.save(image, tmp_path / "ct.nii.gz")
    monkeypatch.setattr(reading_nifti, "slabs", lambda shape: slabs(shape, 2**16))
    read_image(tmp_path / "ct.nii.gz")  # what is imported at the first use is not counted
    tracemalloc.start()
    hu = read_image(tmp_path / "ct.nii.gz").array
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert hu.dtype == np.float32
    assert np.array_equal(hu, nib.load(tmp_path / "ct.nii.gz").get_fdata().astype(np.float32))
    assert peak < 1.6 * hu.nbytes
