"""DICOM in ``prepare``: series in any order, their geometry, what is wrong with some; RTSTRUCT and SEG as labels."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from SynthCTLib.errors import InputError
from Testing.training.dicom_files import write_segmentation, write_series, write_structures
from training.prepare import prepare
from training.recipes import load_recipe

SHAPE = (40, 36, 20)


def torso() -> np.ndarray:
    """int16 HU, axes RAS: a body that is not symmetric, in air."""
    x, y, z = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    hu = np.where((abs(x - 20) < 16) & (abs(y - 18) < 14), 40 + z, -1000)
    hu[8:14, 20:26] = 600
    return hu.astype(np.int16)


def run(source: Path, tmp_path: Path, **data: object) -> tuple[list[dict], dict[str, str], Path]:
    config = {
        "source": str(source),
        "data": {"kind": "dicom", **data},
        "prepared": str(tmp_path / "prepared"),
        "split": {"train": 1},
        "checks": {"min_extent": 10},
    }
    prepare(config)
    listed = json.loads((tmp_path / "prepared" / "cases.json").read_text())
    return listed["cases"], {i["case_id"]: i["reason"] for i in listed["left_out"]}, tmp_path / "prepared"


def test_a_series_in_any_order_becomes_ras_hu_and_hides_the_patients_id(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "case1", torso())
    write_series(tmp_path / "in" / "mr", torso(), modality="MR")
    write_series(
        tmp_path / "in" / "scout", torso()[:, :, :1], changes={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    )
    (tmp_path / "in" / "case1" / "notes.txt").write_text("a note")
    (tmp_path / "in" / "cut.dcm").write_bytes(b"\0" * 128 + b"DICM\x02\x00")
    [case], left_out, folder = run(tmp_path / "in", tmp_path)
    assert np.array_equal(np.load(folder / case["case_id"] / "ct.npy"), torso())
    assert case["spacing"] == pytest.approx([3, 3, 4]) and case["region"] == ["chest"]
    assert np.array(case["affine"])[:3, 3] == pytest.approx([60 - 39 * 3, 50 - 35 * 3, 0])
    written = (folder / "cases.json").read_text()
    assert "CLINIC-4711" not in written and "Doe" not in written and case["patient"].startswith("p")
    reasons = " | ".join(f"{name}: {reason}" for name, reason in left_out.items())
    for expected in ("modality MR, not CT", "a localizer", "notes.txt", "cut.dcm: cut.dcm cannot be read"):
        assert expected in reasons


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"skip": (7, 8)}, "2 slices are missing"),
        ({"changes": {"PixelSpacing": None}}, "no pixel spacing"),
        ({"changes": {"ImagePositionPatient": None}}, "does not say where its slice lies"),
        ({"changes": {"RescaleIntercept": None, "RescaleSlope": None}}, "stored values without the rescale"),
        ({"changes": {"PatientID": ""}}, "no patient id"),
        ({"skip": tuple(range(10, 20))}, "It has 10 slices, fewer than 16"),
    ],
)
def test_a_series_that_is_no_whole_ct_is_left_out_with_the_reason(tmp_path: Path, how: dict, reason: str) -> None:
    write_series(tmp_path / "in" / "good", torso())
    write_series(tmp_path / "in" / "bad", torso(), **{"patient": "MRN-1", **how})
    cases, left_out, _ = run(tmp_path / "in", tmp_path)
    assert len(cases) == 1 and reason in " ".join(left_out.values())


def test_two_scans_under_one_series_are_told_apart_from_one_volume(tmp_path: Path) -> None:
    import pydicom

    write_series(tmp_path / "in" / "good", torso())
    first = write_series(tmp_path / "in" / "twice", torso(), patient="MRN-1")
    write_series(
        tmp_path / "in" / "twice" / "copy", torso(), "MRN-1", changes={"SeriesInstanceUID": first[0].SeriesInstanceUID}
    )
    write_series(tmp_path / "in" / "uneven", torso(), patient="MRN-2")
    for path in (tmp_path / "in" / "uneven").iterdir():
        data = pydicom.dcmread(path)
        data.ImagePositionPatient[2] += 1.5 * (float(data.ImagePositionPatient[2]) > 40)
        data.save_as(path)
    cases, left_out, _ = run(tmp_path / "in", tmp_path)
    reasons = " ".join(left_out.values())
    assert len(cases) == 1 and "20 slices lie where another one lies already" in reasons
    assert "varies from 4.00 to 5.50 mm" in reasons


def test_a_tilted_gantry_is_straightened_so_that_places_stay_where_they_were(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "tilted", torso(), tilt=15)
    [case], _, folder = run(tmp_path / "in", tmp_path)
    assert "gantry-tilt" in [finding["code"] for finding in case["findings"]]
    affine, hu = np.array(case["affine"]), np.load(folder / case["case_id"] / "ct.npy")
    unit = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    assert unit == pytest.approx(np.eye(3), abs=1e-6)
    # The rod at x 8-14, y 20-26 (RAS voxels) of slice 10, as the tilted slice has it in LPS.
    column, row = 39 - 10.5, 35 - 22.5
    angle = np.radians(15)
    lps = np.array([-60 + 3 * column, -50 + 3 * row * np.cos(angle), 40 + 3 * row * np.sin(angle)])
    index = np.linalg.solve(affine[:3, :3], lps * [-1, -1, 1] - affine[:3, 3])
    assert hu[tuple(np.round(index).astype(int))] == 600


def test_an_id_of_the_clinic_that_fits_no_pattern_is_not_written_down(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "case1", torso())
    with pytest.raises(InputError, match="does not fit the pattern 'LIDC'") as raised:
        run(tmp_path / "in", tmp_path, patient="LIDC")
    assert "CLINIC-4711" not in str(raised.value)


def square(x: tuple[float, float], y: tuple[float, float], z: float) -> list[list[float]]:
    return [[x[0], y[0], z], [x[1], y[0], z], [x[1], y[1], z], [x[0], y[1], z]]


def test_contours_and_segments_become_labels_and_unknown_names_are_listed(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "in" / "case1", torso())
    # Between pixel centers -60 + 3 i and -50 + 3 j (LPS): columns 10-19, rows 8-15, without columns 13-16, rows 10-13.
    outer = [square((-31.5, -1.5), (-27.5, -3.5), 4.0 * k) for k in range(5, 9)]
    hole = [square((-22.5, -10.5), (-21.5, -9.5), 4.0 * k) for k in range(5, 9)]
    body = [square((-60, 57), (-50, 55), 4.0 * k) for k in range(20)]
    write_structures(
        tmp_path / "in" / "rs.dcm", slices, {"Liver": outer + hole, "BODY": body, "PTV_60": outer, "Cord": outer[:1]}
    )
    mask = np.zeros(SHAPE, bool)
    mask[30:34, 5:9, 12:15] = True
    write_segmentation(tmp_path / "in" / "seg.dcm", slices, {"Spleen": mask})
    [case], left_out, folder = run(tmp_path / "in", tmp_path, labels={"Cord": None})
    expected = np.zeros(SHAPE, np.uint8)
    stored = np.zeros((40, 36), bool)
    stored[10:20, 8:16] = True
    stored[13:17, 10:14] = False
    expected[:, :, 5:9] = stored[::-1, ::-1, None]
    expected[mask] = 3
    assert np.array_equal(np.load(folder / case["case_id"] / "labels.npy"), expected)
    assert case["label_ids"] == [1, 3] and not left_out
    [unknown] = [f["text"] for f in case["findings"] if f["code"] == "unknown-structures"]
    assert "PTV_60" in unknown and "Cord" not in unknown


def test_a_segmentation_without_highdicom_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slices = write_series(tmp_path / "in" / "case1", torso())
    write_segmentation(tmp_path / "in" / "seg.dcm", slices, {"Spleen": torso() == 600})
    monkeypatch.setitem(sys.modules, "highdicom.seg", None)
    [case], _, _ = run(tmp_path / "in", tmp_path)
    assert case["label_ids"] == [] and "pip install highdicom" in " ".join(f["text"] for f in case["findings"])


def test_structures_of_another_series_are_not_used(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "case1", torso())
    other = write_series(tmp_path / "elsewhere", torso())
    write_structures(tmp_path / "in" / "rs.dcm", other, {"Liver": [square((-31, -1), (-27, -3), 20.0)]})
    [case], left_out, _ = run(tmp_path / "in", tmp_path)
    assert case["label_ids"] == [] and "RTSTRUCT of a CT series that is not here" in left_out["rs.dcm"]


def test_lidc_is_brought_to_a_cube_of_128_voxels_around_its_center(tmp_path: Path) -> None:
    root = tmp_path / "LIDC-IDRI"
    for patient in ("LIDC-IDRI-0001", "LIDC-IDRI-0002"):
        write_series(root / patient / "01-01-2000-1" / "3000566-03192", torso(), patient=patient)
        write_series(root / patient / "01-01-2000-2" / "35511-62357", torso()[:, :, :1], patient, modality="DX")
    recipe = load_recipe("lidc-idri")
    assert recipe["transform"] == {"spacing": [1, 1, 1], "crop": [320, 320, 320], "resize": [128, 128, 128]}
    small = {"spacing": [1, 1, 1], "crop": [40, 40, 40], "resize": [16, 16, 16]}
    cases, left_out, folder = run(root, tmp_path, recipe="lidc-idri", kind="dicom", transform=small)
    assert [case["patient"] for case in cases] == [f"lidc-idri_LIDC-IDRI-000{n}" for n in (1, 2)]
    assert all("modality DX" in reason for reason in left_out.values()) and len(left_out) == 2
    assert cases[0]["spacing"] == pytest.approx([2.5] * 3) and cases[0]["shape"] == [16] * 3
    hu = np.load(folder / cases[0]["case_id"] / "ct.npy")
    # HU rise by 1 per slice of 4 mm and are 49.5 in the middle; the first and last voxel are 18.75 mm from there.
    assert hu[8, 8, 0] == 45 and hu[8, 8, -1] == 54
    assert cases[0]["licence"] == "CC BY 3.0"
