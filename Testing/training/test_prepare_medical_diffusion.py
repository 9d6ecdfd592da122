"""The sets of Medical Diffusion, on small files as their providers write them: MRNet, ADNI, Duke breast MRI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np
import pytest

from SynthCTLib.errors import InputError
from SynthCTLib.volume import Volume
from Testing.training.dicom_files import SPACING, write_series
from training.medical_diffusion.volumes import VolumeSet
from training.prepare import prepare
from training.regrid import foreground_cube, regrid
from training.sources import find_cases
from training.sources.duke import one_breast


def run(folder: Path, recipe: str, **data: Any) -> dict[str, Any]:
    """Prepare ``folder`` by a recipe; returns ``cases.json``."""
    config = {"source": str(folder), "data": {"recipe": recipe, **data}, "prepared": str(folder / "prepared")}
    config |= {"checks": {"min_slices": 4, "min_extent": 1}, "split": {"train": 0.5, "val": 0.5}}
    prepare(config)
    return json.loads((folder / "prepared" / "cases.json").read_text(encoding="utf-8"))


@pytest.fixture
def mrnet(tmp_path: Path) -> Path:
    """Three exams of other slice counts; the marker is far in front, low and in the last slice but one."""
    for split, number, slices in (("train", 0, 6), ("train", 1, 9), ("valid", 1130, 7)):
        stack = np.random.default_rng(number).integers(0, 80, (slices, 256, 256)).astype(np.uint8)
        stack[-2, 250, 3] = 255  # row 250: low; column 3: in front
        folder = tmp_path / split / "sagittal"
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{number:04d}.npy", stack)
    (tmp_path / "train-abnormal.csv").write_text("0000,1\n0001,0\n")
    return tmp_path


def test_mrnet_arrays_become_sagittal_volumes_with_the_split_of_the_set(mrnet: Path) -> None:
    cases = run(mrnet, "mrnet", transform={"crop": [8, 256, 256]})["cases"]
    assert {(case["case_id"], case["split"]) for case in cases} == {
        ("mrnet_train_0000", "train"),
        ("mrnet_train_0001", "train"),
        ("mrnet_valid_1130", "val"),
    }
    assert all(case["shape"] == [8, 256, 256] and case["modality"] == "mr" for case in cases)
    array = np.load(mrnet / "prepared" / "mrnet_train_0000" / "mr.npy")
    assert array.dtype == np.float32 and array.min() >= 0
    x, y, z = np.argwhere(array == array.max())[0]
    assert x == 5 and y == 255 - 3 and z == 255 - 250  # six slices lie in the middle of eight
    assert array[0].max() == 0, "around the stack lies its own background"


def test_mrnet_without_spacing_without_folders_and_with_other_arrays_says_what_is_wrong(
    mrnet: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(InputError, match="give 'spacing'"):
        find_cases(mrnet, {"kind": "mrnet"})
    with pytest.raises(InputError, match=r"MRNet-v1\.0"):
        find_cases(tmp_path_factory.mktemp("empty"), {"kind": "mrnet", "spacing": [1, 1, 1]})
    np.save(mrnet / "train" / "sagittal" / "0002.npy", np.zeros((64, 64), np.uint8))
    np.save(mrnet / "train" / "sagittal" / "0003.npy", np.array([{}], object), allow_pickle=True)
    np.save(mrnet / "train" / "sagittal" / "0004.npy", np.zeros((256, 256, 30), np.uint8))
    left_out = {item["case_id"]: item["reason"] for item in run(mrnet, "mrnet")["left_out"]}
    assert "(256, 256, 30); MRNet's arrays are (slices, 256, 256)" in left_out["mrnet_train_0004"]
    assert "no stack of slices" in left_out["mrnet_train_0002"]
    assert "no array that can be read" in left_out["mrnet_train_0003"]


def test_a_skull_stripped_brain_of_adni_is_cut_to_its_cube_and_resized(tmp_path: Path) -> None:
    for subject in ("002_S_0295", "011_S_0021"):
        brain = np.zeros((40, 50, 30), np.int16)
        brain[10:30, 12:44, 5:25] = np.random.default_rng(0).integers(100, 900, (20, 32, 20))
        image = nib.Nifti1Image(brain, np.diag([1.2, 1.0, 1.5, 1.0]))
        image.set_sform(image.affine, code=1)
        nib.save(image, tmp_path / f"ADNI_{subject}_MR_MPR__GradWarp__B1_Correction_Br_20070319.nii")
    cases = run(tmp_path, "adni", transform={"foreground": "cube", "resize": [16, 16, 16]})["cases"]
    assert {case["patient"] for case in cases} == {"adni_002_S_0295", "adni_011_S_0021"}
    assert all(case["shape"] == [16, 16, 16] and case["region"] == ["head"] for case in cases)
    np.testing.assert_allclose(cases[0]["spacing"], [2.4, 2.0, 3.0], rtol=1e-6)  # 32 voxels, the brain's largest side
    array = np.load(tmp_path / "prepared" / cases[0]["case_id"] / "mr.npy")
    assert array[:, 2:-2, 5:-5][3:-3].min() > 0 and array[0].max() == 0


def test_adni_files_without_a_subject_are_left_out_and_named(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.ones((8, 8, 8), np.int16), np.eye(4)), tmp_path / "brain.nii.gz")
    with pytest.raises(InputError, match="patient pattern"):
        run(tmp_path, "adni")


def write_duke(folder: Path, patient: str, mask: bool = True) -> np.ndarray:
    """A T1 series, a fat-saturated one and the segmentation; returns the T1 image (axes RAS)."""
    t1 = np.random.default_rng(int(patient[-3:])).integers(200, 900, (24, 20, 8)).astype(np.int16)
    tags = {"RescaleIntercept": None, "RescaleSlope": None}
    write_series(folder / patient / "s1", t1 - 1024, patient, "MR", changes={**tags, "SeriesDescription": "ax t1"})
    fat = {**tags, "SeriesDescription": "ax t1 fs dyn pre"}
    write_series(folder / patient / "s2", t1 - 1024, patient, "MR", changes=fat)
    if mask:
        breasts = np.zeros(t1.shape, np.uint8)
        breasts[2:10, 12:18, 1:7] = 1  # low X: left
        breasts[15:21, 11:19, 2:6] = 1
        header = {"space": "left-posterior-superior", "kinds": ["domain"] * 3, "encoding": "gzip"}
        header["space directions"] = np.diag(SPACING)
        header["space origin"] = [-60.0, -50.0, 0.0]
        nrrd.write(str(folder / f"Segmentation_{patient}_Breast.seg.nrrd"), breasts[::-1, ::-1], header)
    return t1


def test_each_breast_of_duke_becomes_a_masked_volume_of_its_own(tmp_path: Path) -> None:
    images = {patient: write_duke(tmp_path, patient) for patient in ("Breast_MRI_001", "Breast_MRI_002")}
    write_duke(tmp_path, "Breast_MRI_003", mask=False)
    listed = run(tmp_path, "duke-breast", transform={"crop": None})
    cases = {case["case_id"].rsplit("_", 1)[1]: case for case in listed["cases"] if "001" in case["patient"]}
    assert set(cases) == {"left", "right"}
    assert cases["left"]["split"] == cases["right"]["split"]
    assert cases["left"]["shape"] == [8, 6, 6] and cases["right"]["shape"] == [6, 8, 4]
    t1 = images["Breast_MRI_001"].astype(np.float32)
    left = np.load(tmp_path / "prepared" / cases["left"]["case_id"] / "mr.npy")
    np.testing.assert_array_equal(left, t1[2:10, 12:18, 1:7])
    reasons = " ".join(item["reason"] for item in listed["left_out"])
    assert "0 breast segmentations are named after Breast_MRI_003" in reasons
    assert "'ax t1 fs dyn pre' does not fit" in reasons


def test_outside_of_the_breast_is_the_minimum_of_the_image() -> None:
    image = Volume(np.arange(4 * 3 * 3, dtype=np.float32).reshape(4, 3, 3) + 5, np.eye(4))
    breasts = np.zeros((4, 3, 3), bool)
    breasts[0, 0, 0] = breasts[1, 1, 1] = breasts[3, 2, 2] = True
    left = one_breast(image, breasts, "left")
    assert left.shape == (2, 2, 2) and left.array[0, 0, 0] == 5 and left.array[1, 1, 1] == 5 + 9 + 3 + 1
    assert np.count_nonzero(left.array != 5) == 1
    right = one_breast(image, breasts, "right")
    assert right.shape == (1, 1, 1) and right.affine[:3, 3].tolist() == [3, 2, 2]
    with pytest.raises(InputError, match="no breast"):
        one_breast(image, np.zeros((4, 3, 3), bool), "left")


def test_a_breast_that_reaches_beyond_the_middle_is_no_second_breast() -> None:
    image = Volume(np.ones((20, 30, 4), np.float32), np.eye(4))
    breasts = np.zeros(image.shape, bool)
    breasts[1:10] = True
    breasts[10, :12] = True
    assert one_breast(image, breasts, "left").shape == (9, 30, 4)
    with pytest.raises(InputError, match="no right breast"):
        one_breast(image, breasts, "right")
    breasts[15:17] = True  # a small one; the image is parted in its middle, not in that of what is segmented
    assert one_breast(image, breasts, "left").shape == (9, 30, 4)
    assert one_breast(image, breasts, "right").shape == (7, 30, 4)


def test_the_recipe_of_duke_gives_the_grid_of_the_paper() -> None:
    image = Volume(np.ones((300, 280, 40), np.float32), np.diag([0.7, 0.7, 2.0, 1.0]))
    moved, _ = regrid(image, [], {"spacing": [0.66, 0.66, 3], "resize": [256, 256, 32]}, fill=0.0)
    assert moved.shape == (256, 256, 32)


def test_the_foreground_is_a_cube_in_voxels_around_what_is_above_the_minimum() -> None:
    array = np.zeros((20, 20, 20), np.float32)
    array[4:10, 5:8, 12:14] = 3
    cube = foreground_cube(Volume(array, np.eye(4)), "cube", 0.0)
    assert cube.shape == (6, 6, 6) and (cube.array > 0).any((1, 2)).all()
    array += np.random.default_rng(0).uniform(0, 0.1, array.shape).astype(np.float32)
    with pytest.raises(InputError, match="skull-stripped"):
        foreground_cube(Volume(array, np.eye(4)), "cube", 0.0)
    with pytest.raises(InputError, match="no foreground"):
        foreground_cube(Volume(np.ones((4, 4, 4)), np.eye(4)), "cube", 0.0)


def test_prepared_mr_feeds_the_vq_gan_with_each_volume_in_its_own_range(mrnet: Path) -> None:
    run(mrnet, "mrnet", transform={"crop": [8, 64, 64]})
    volumes = {"groups": None, "transform": {}, "intensity": {"min_max": True}, "depth_axis": 0, "flip_axis": None}
    config = {"prepared": str(mrnet / "prepared"), "run": str(mrnet / "run"), "volumes": volumes}
    tensor = VolumeSet(config, "train").tensor(0)
    assert tensor.shape == (1, 8, 64, 64) and tensor.min() == -1 and tensor.max() == 1
