"""What ``prepare`` asks of a CT, how it divides patients, moves grids and goes on after a kill."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from SynthCTLib.errors import InputError
from SynthCTLib.volume import Volume
from training.checks import LIMITS, check_grid, check_labels, check_values, limits
from training.prepare import content_hash, prepare
from training.regrid import regrid, target_grid
from training.split import split_patients


def ct(seed: int = 0) -> np.ndarray:
    """float32 HU (40, 40, 30): half air, a body of fat and muscle, some bone."""
    rng = np.random.default_rng(seed)
    hu = np.full((40, 40, 30), -1000.0, np.float32)
    hu[5:35, 5:35] = 40
    hu[10:20, 10:20] = -100
    hu[25:28, 18:22] = 900
    return hu + rng.normal(0, 10, hu.shape).astype(np.float32)


def mr() -> np.ndarray:
    return np.where(ct() > -500, np.abs(ct()) + 300, 0).astype(np.float32)


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (np.full((4, 4, 4), -1000.0), "constant"),
        ((ct() + 1000) / 2000, "normalized"),
        (np.clip(ct(), -160, 240), "windowed"),
        (np.round(ct() + 1024).clip(0), "no-rescale"),
        (np.interp(ct(), [-160, 240], [0, 255]).round(), "eight-bit"),
        (mr(), "not-ct"),
        (ct() - 1024, "no-tissue"),
    ],
)
def test_images_that_are_no_hu_are_told_apart_and_refused(image: np.ndarray, code: str) -> None:
    errors = [finding.code for finding in check_values(image) if finding.severity == "error"]
    assert errors == [code]


@pytest.mark.parametrize("padding", [-2000, -2048, -3024])
def test_padding_outside_the_scanners_circle_is_no_fault(padding: float) -> None:
    hu = ct()
    hu[:3, :3] = padding
    [finding] = check_values(hu)
    assert finding.code == "padding" and finding.severity == "info" and f"{padding}" in finding.message
    assert check_values(ct()) == []


def test_an_ordinary_grid_raises_no_doubt() -> None:
    affine = np.diag([3.0, 3.0, 4.0, 1.0])
    assert check_grid(Volume(ct(), affine), LIMITS) == []


@pytest.mark.parametrize(
    ("shape", "spacing", "code"),
    [
        ((64, 64, 9), (3, 3, 4), "few-slices"),
        ((64, 64, 40), (7, 7, 4), "coarse"),
        ((64, 64, 40), (3, 3, 12), "coarse"),
        ((64, 64, 40), (0.01, 3, 4), "spacing"),
        ((16, 64, 40), (3, 3, 4), "narrow"),
        ((512, 512, 20), (3, 3, 4), "wide"),
    ],
)
def test_odd_grids_are_named(shape: tuple[int, int, int], spacing: tuple[float, ...], code: str) -> None:
    volume = Volume(np.broadcast_to(np.float32(0), shape), np.diag([*spacing, 1.0]))
    assert code in [finding.code for finding in check_grid(volume, LIMITS)]


def test_limits_come_from_the_config_and_a_wrong_name_is_told() -> None:
    volume = Volume(np.zeros((64, 64, 9)), np.diag([3.0, 3.0, 4.0, 1.0]))
    assert check_grid(volume, limits({"min_slices": 8})) == []
    with pytest.raises(InputError, match="There is no check 'min_slice'"):
        limits({"min_slice": 8})


def test_a_mirrored_and_an_upside_down_body_are_noticed_by_their_labels() -> None:
    labels = np.zeros((60, 30, 60), np.uint8)
    for label, x, z in ((1, 40, 20), (3, 12, 22), (5, 38, 12), (14, 16, 13), (30, 42, 45), (28, 12, 45), (22, 27, 56)):
        labels[x : x + 6, 10:16, z : z + 3] = label
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    assert check_labels(Volume(labels, affine)) == []
    for wrong, words in ((labels[::-1], "mirrored"), (labels[:, :, ::-1], "upside down")):
        [finding] = check_labels(Volume(wrong, affine))
        assert finding.code == "orientation" and words in finding.message


def test_the_split_holds_when_patients_are_added_and_nearly_keeps_its_shares() -> None:
    shares = {"train": 0.8, "val": 0.2}
    few, many = ({f"p{n}" for n in range(count)} for count in (300, 1000))
    before, after = (split_patients(patients, shares, 3) for patients in (few, many))
    assert all(after[patient] == split for patient, split in before.items())
    assert 150 < sum(split == "val" for split in after.values()) < 250
    assert split_patients(few, shares, 4) != before


def test_every_split_gets_somebody_and_too_few_patients_are_told() -> None:
    for count in range(2, 12):
        for seed in range(20):
            result = split_patients({f"p{n}" for n in range(count)}, {"train": 0.8, "val": 0.2}, seed)
            assert set(result.values()) == {"train", "val"}
    with pytest.raises(InputError, match="1 patients cannot be divided into train and val"):
        split_patients({"p"}, {"train": 0.8, "val": 0.2}, 0)


def test_a_crop_stays_centered_and_a_smaller_image_gets_air_around_it() -> None:
    image = Volume(ct(), np.diag([3.0, 3.0, 4.0, 1.0]))
    moved, [labels] = regrid(image, [image.with_array((ct() > 500).astype(np.uint8))], {"crop": [20, 50, 30]})
    assert np.allclose(moved.array[:, 5:45], ct()[10:30])
    assert (moved.array[:, :5] == -1000).all() and labels is not None
    assert np.array_equal(labels.array[:, 5:45], (ct() > 500)[10:30])
    middle = [
        affine[:3, :3] @ ((np.array(shape) - 1) / 2) + affine[:3, 3]
        for shape, affine in (
            (image.shape, image.affine),
            target_grid(image, {"spacing": [1, 1, 1], "crop": [9, 8, 7], "resize": [4, 4, 4]}),
        )
    ]
    assert middle[0] == pytest.approx(middle[1])
    with pytest.raises(InputError, match="'spacing' needs three positive numbers"):
        target_grid(image, {"spacing": [1, 1]})


@pytest.fixture
def config(tmp_path: Path) -> dict:
    for number in range(3):
        path = tmp_path / "in" / f"case{number}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(ct(number).astype(np.int16), np.diag([3.0, 3.0, 4.0, 1.0])), path)
    return {"source": str(tmp_path / "in"), "data": {"kind": "images"}, "prepared": str(tmp_path / "out")}


def test_a_stopped_run_goes_on_and_reads_only_what_is_new(config: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    import training.sources.images as images

    read: list[str] = []
    original = images.read_image

    def until_killed(path: Path) -> Volume:
        read.append(path.name)
        if read == ["case0.nii.gz", "case1.nii.gz"]:
            raise KeyboardInterrupt
        return original(path)

    monkeypatch.setattr(images, "read_image", until_killed)
    with pytest.raises(KeyboardInterrupt):
        prepare(config)
    assert not (Path(config["prepared"]) / "cases.json").exists()
    prepare(config)
    assert read == ["case0.nii.gz", "case1.nii.gz", "case1.nii.gz", "case2.nii.gz"]
    nib.save(nib.Nifti1Image(ct(9).astype(np.int16), np.eye(4) * 3), Path(config["source"]) / "case2.nii.gz")
    prepare(config)
    assert read[4:] == ["case2.nii.gz"]
    assert not list(Path(config["prepared"]).rglob("*.part"))


def test_the_hash_is_that_of_the_data_and_not_of_the_place(config: dict, tmp_path: Path) -> None:
    def hash_of(changes: dict) -> str:
        prepare({**config, **changes})
        return json.loads((Path({**config, **changes}["prepared"]) / "cases.json").read_text())["hash"]

    first = hash_of({})
    (tmp_path / "in").rename(tmp_path / "moved")
    assert hash_of({"source": str(tmp_path / "moved"), "prepared": str(tmp_path / "other")}) == first
    nib.save(nib.Nifti1Image(ct(5).astype(np.int16), np.diag([3.0, 3.0, 4.0, 1.0])), tmp_path / "moved/case1.nii.gz")
    assert hash_of({"source": str(tmp_path / "moved"), "prepared": str(tmp_path / "other")}) != first
    case = {"case_id": "a", "split": "train", "files": {"ct.npy": "0"}}
    assert content_hash([case, {**case, "case_id": "b"}]) == content_hash([{**case, "case_id": "b"}, case])


def test_an_excluded_case_and_an_empty_folder_are_said_so(config: dict, tmp_path: Path) -> None:
    prepare({**config, "exclude": {"case1": "moved during the scan"}})
    listed = json.loads((Path(config["prepared"]) / "cases.json").read_text())
    assert listed["left_out"] == [{"case_id": "case1", "reason": "moved during the scan"}]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no case of kind 'auto'"):
        prepare({**config, "source": str(tmp_path / "empty"), "data": {"kind": "auto"}})
    with pytest.raises(InputError, match="No case could be used; the reasons are in"):
        prepare({**config, "checks": {"min_slices": 99}})
    with pytest.raises(InputError, match="There is no kind of data 'pictures'"):
        prepare({**config, "data": {"kind": "pictures"}})
