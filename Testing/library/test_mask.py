"""Any segmentation becomes a conditioning mask that the model can use, and all that was decided is said."""

from __future__ import annotations

import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from SynthCTLib.errors import AmbiguousInputError, Cancelled, InputError
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.mask import PreparedMask, prepare_mask
from SynthCTLib.progress import Progress
from SynthCTLib.resources import resource_path

BODY, LIVER, LUNG = 200, 1, 29
CASE = resource_path("Cases", "totalseg_s0327_chest", "labels.nii.gz")
CARD = SimpleNamespace(
    grid={
        "xy": {"multiple": 16, "min": 64, "max": 160},
        "z": {"multiple": 16, "min": 32, "max": 128},
        "square": True,
        "spacing_xy": [3.0, 6.0],
        "spacing_z": [3.0, 6.0],
        "fov_xy_min": 256,
        "defaults": {"*": {"size": [80, 80, 64], "spacing": [5.0, 5.0, 5.0]}},
    },
    trained_on={
        "labels": None,
        "regions": ["head", "chest", "abdomen", "pelvis"],
        "fov_mm": [[250, 500], [250, 500], [150, 500]],
    },
)


def save(path, array, affine):
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def torso(shape=(60, 50, 50), spacing=6.0) -> tuple[np.ndarray, np.ndarray]:
    """A liver and a lung, body unlabeled."""
    array = np.zeros(shape, dtype=np.uint8)
    array[30:45, 15:35, 5:25] = LIVER
    array[10:25, 12:38, 20:45] = LUNG
    return array, np.diag([spacing, spacing, spacing, 1.0])


@pytest.fixture(scope="module")
def prepared() -> PreparedMask:
    return prepare_mask(CASE, CARD)


def test_a_real_segmentation_becomes_a_valid_mask(prepared):
    assert prepared.labels.array.dtype == np.uint8 and prepared.labels.orientation == "RAS"
    assert prepared.labels.shape[0] == prepared.labels.shape[1] == 80
    assert (prepared.labels.array == BODY).mean() > 0.15
    assert not [finding for finding in prepared.findings if finding.severity != "info"]
    stored = nib.load(CASE)
    assert prepared.source_shape == stored.shape and np.allclose(prepared.source_affine, stored.affine)


def test_how_says_what_was_decided_in_plain_values(prepared):
    how = json.loads(json.dumps(prepared.how))
    assert (how["format"], how["scheme"], how["body"]) == ("nifti", "maisi", "built")
    assert how["region"] == {"names": list(prepared.region.names), "from": "labels"}
    assert how["grid"]["kept"] is False and how["grid"]["size"] == list(prepared.labels.shape)
    assert {"scheme-detected", "body-added"} <= {finding.code for finding in prepared.findings}


def test_organs_stay_where_they_were(prepared):
    stored = nib.load(CASE)
    for label in (LIVER, 28, 115):
        source = np.argwhere(np.asarray(stored.dataobj) == label).mean(axis=0)
        result = np.argwhere(prepared.labels.array == label).mean(axis=0)
        shift = (stored.affine @ [*source, 1]) - (prepared.labels.affine @ [*result, 1])
        assert np.abs(shift).max() < 0.5


def test_a_prepared_mask_comes_out_as_it_went_in(prepared, tmp_path):
    path = save(tmp_path / "mask.nii.gz", prepared.labels.array, prepared.labels.affine)
    again = prepare_mask(path, CARD)
    assert np.array_equal(again.labels.array, prepared.labels.array)
    assert np.allclose(again.labels.affine, prepared.labels.affine, atol=1e-4)
    assert again.how["grid"]["kept"] and again.how["body"] == "given" and again.region == prepared.region


@pytest.mark.parametrize("turn", ["LPS", "ASR", "LAI"])
def test_orientation_of_the_file_does_not_matter(prepared, tmp_path, turn):
    stored = nib.load(CASE)
    orientation = nib.orientations.axcodes2ornt(turn)
    turned = stored.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(stored.affine), orientation))
    nib.save(turned, tmp_path / "turned.nii.gz")
    again = prepare_mask(tmp_path / "turned.nii.gz", CARD)
    assert np.allclose(again.labels.affine, prepared.labels.affine, atol=1e-3)
    assert (again.labels.array != prepared.labels.array).mean() < 1e-3
    assert again.source_shape == turned.shape


def test_a_folder_of_masks_gives_the_same_as_the_map(tmp_path):
    array, affine = torso()
    folder = tmp_path / "segmentations"
    folder.mkdir()
    for label in (LIVER, LUNG):
        name = load_vocabulary().by_id(label).totalsegmentator_name
        save(folder / f"{name}.nii.gz", (array == label).astype(np.uint8), affine)
    one = prepare_mask(save(tmp_path / "map.nii.gz", array, affine), CARD, scheme="maisi")
    many = prepare_mask(folder, CARD)
    assert np.array_equal(one.labels.array, many.labels.array)
    assert many.how["format"] == "folder"


def test_the_users_region_wins_and_a_contradiction_is_said(tmp_path):
    path = save(tmp_path / "map.nii.gz", *torso())
    given = prepare_mask(path, CARD, scheme="maisi", region="pelvis")
    assert given.region.names == ("pelvis",) and given.how["region"]["from"] == "given"
    assert "region-contradiction" in {finding.code for finding in given.findings}
    with pytest.raises(InputError, match="not a body region"):
        prepare_mask(path, CARD, scheme="maisi", region="elbow")


def test_labels_without_a_marker_of_a_region_still_tell_it_or_the_user_is_asked(tmp_path):
    array, affine = torso()
    array[array > 0] = load_vocabulary().find("bladder").id
    pelvis = prepare_mask(save(tmp_path / "a.nii.gz", array, affine), CARD, scheme="maisi")
    assert pelvis.region.names == ("pelvis",)
    array[array > 0] = load_vocabulary().find("spinal cord").id
    path = save(tmp_path / "b.nii.gz", array, affine)
    with pytest.raises(AmbiguousInputError, match="which part of the body") as caught:
        prepare_mask(path, CARD)
    assert (caught.value.setting, caught.value.choices[0]) == ("region", "head")
    assert prepare_mask(path, CARD, region="chest").region.names == ("chest",)


def test_a_lesion_that_falls_between_the_models_voxels_is_named(tmp_path):
    array, affine = torso()
    array, affine = np.kron(array, np.ones((6, 6, 6), dtype=np.uint8)), affine @ np.diag([1 / 6, 1 / 6, 1 / 6, 1])
    grid = prepare_mask(save(tmp_path / "a.nii.gz", array, affine), CARD, scheme="maisi").labels.affine
    for offset, code in ((0.0, "tiny-lesion"), (0.5, "labels-lost")):
        middle = np.linalg.inv(grid) @ affine @ [225, 150, 90, 1]
        voxel = np.linalg.inv(affine) @ grid @ (np.floor(middle) + np.array([offset, 0, 0, 0]))
        lesion = array.copy()
        lesion[tuple(np.rint(voxel[:3]).astype(int))] = 26
        findings = prepare_mask(save(tmp_path / "b.nii.gz", lesion, affine), CARD, scheme="maisi").findings
        assert [finding.code for finding in findings if 26 in finding.labels] == [code]


def test_one_voxel_is_either_kept_or_refused_in_words(tmp_path):
    path = save(tmp_path / "a.nii.gz", np.full((1, 1, 1), LIVER, dtype=np.uint8), np.eye(4))
    with pytest.raises(InputError, match="smaller than a voxel"):
        prepare_mask(path, CARD, scheme="maisi")
    path = save(tmp_path / "b.nii.gz", np.full((1, 1, 1), LIVER, dtype=np.uint8), np.diag([40.0, 40, 40, 1]))
    result = prepare_mask(path, CARD, scheme="maisi")
    assert (result.labels.array == LIVER).sum() * np.prod(result.labels.spacing) == pytest.approx(40**3, rel=0.3)
    assert "fov-outside" in {finding.code for finding in result.findings}


def test_the_body_comes_from_a_ct_where_there_is_one(tmp_path):
    array, affine = torso()
    mask = save(tmp_path / "map.nii.gz", array, affine)
    hu = np.full((120, 100, 50), -1000, dtype=np.int16)
    hu[6:112, 16:90] = 40
    ct = save(tmp_path / "ct.nii.gz", hu, np.diag([3.0, 3.0, 6.0, 1.0]) @ _shift(-0.25, -0.25, 0))
    result = prepare_mask(mask, CARD, scheme="maisi", ct=ct)
    assert result.how["body"] == "from ct"
    width = (result.labels.array > 0).any(axis=(1, 2)).sum() * result.labels.spacing[0]
    assert width == pytest.approx(106 * 3.0, abs=2 * result.labels.spacing[0])


def _shift(x, y, z) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


def test_a_given_body_is_left_as_it_is(tmp_path):
    array, affine = torso()
    array[5:50, 8:42][array[5:50, 8:42] == 0] = BODY
    result = prepare_mask(save(tmp_path / "a.nii.gz", array, affine), CARD)
    assert result.how["body"] == "given"
    volume = (result.labels.array > 0).sum() * np.prod(result.labels.spacing)
    assert volume == pytest.approx((array > 0).sum() * 6.0**3, rel=0.03)


def test_progress_is_told_and_cancel_works():
    events = []
    with pytest.raises(Cancelled):
        prepare_mask(CASE, CARD, progress=Progress(events.append, lambda: len(events) == 2))
    assert [(event.stage, event.step) for event in events] == [("prepare", 0), ("prepare", 1)]
