"""What cannot be read is refused in one sentence, and what is huge is read within its own size."""

from __future__ import annotations

import gzip
import tracemalloc

import nibabel as nib
import nrrd
import numpy as np
import pytest

from SynthCTLib import reading_nifti
from SynthCTLib.errors import InputError
from SynthCTLib.reading import read_image, read_segmentation
from SynthCTLib.slabs import slabs
from Testing.library.label_maps import AFFINE, BODY, blocks, save, slicer_header


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
