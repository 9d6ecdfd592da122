"""Cases as a single file: what goes in comes out, and what does not belong in one is refused without a trace."""

from __future__ import annotations

import gzip
import json
import stat
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from SynthCTLib import case_bundle
from SynthCTLib.case_bundle import read_case_bundle, save_case, write_case_bundle
from SynthCTLib.cases import find_case, read_case
from SynthCTLib.errors import InputError, ResourceError
from SynthCTLib.label_file import read_label_file, write_label_file

AFFINE = np.array([[-2.0, 0.1, 0, 60], [0.1, 2.0, 0, -50], [0, 0, 3.0, 100], [0, 0, 0, 1]])
FIELDS = {
    "id": "my_liver", "title": "Mein Fall: Größe", "description": "A box.", "region": "abdomen",
    "source": "drawn", "changes": "none", "licence": {"name": "CC0", "url": ""}, "citation": [],
    "learning_goals": [], "clinical_text": "", "view": {"window": "soft-tissue", "center_label": 1},
    "settings": {"seed": 3},
    "questions": [{"kind": "find", "label": 1}],
}  # fmt: skip


@pytest.fixture
def labels() -> np.ndarray:
    array = np.full((20, 18, 16), 200, np.uint8)
    array[5:12, 5:12, 5:12] = 1
    return array


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    path = tmp_path / "some ct.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((20, 18, 16), np.int16), AFFINE), path)
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a blank and letters that are not ASCII in its path."""
    folder = tmp_path / "eigene Fälle"
    folder.mkdir()
    return folder


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def parts(case_folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in case_folder.iterdir()}


def test_a_saved_case_comes_back_through_a_bundle(place: Path, labels: np.ndarray, ct: Path) -> None:
    saved = save_case(place, FIELDS, labels, AFFINE, ct)
    assert saved.path.parent == place / "my_liver"
    bundle = write_case_bundle(saved, place / "für alle")
    assert bundle.name == "für alle.synthct-case"
    (place / "other").mkdir()
    opened = read_case_bundle(bundle, place / "other")
    again, affine = read_label_file(opened.path)
    assert (again == labels).all() and affine == pytest.approx(AFFINE)
    assert opened.title == "Mein Fall: Größe" and opened.questions == ({"kind": "find", "label": 1},)
    assert opened.ct is not None and opened.ct.read_bytes() == ct.read_bytes()
    assert sorted(path.name for path in place.iterdir()) == ["für alle.synthct-case", "my_liver", "other"]


def test_a_bundled_case_goes_into_a_bundle_and_gives_the_same_bytes_each_time(tmp_path: Path) -> None:
    case = find_case("openkbp_neck")
    first, second = write_case_bundle(case, tmp_path / "a"), write_case_bundle(case.path.parent, tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    opened = read_case_bundle(first, tmp_path)
    assert opened.path.read_bytes() == case.path.read_bytes() and opened.citation == case.citation


def test_an_existing_case_is_never_overwritten(place: Path, labels: np.ndarray) -> None:
    saved = save_case(place, FIELDS, labels, AFFINE)
    bundle = write_case_bundle(saved, place / "x")
    for act in (lambda: save_case(place, FIELDS, labels, AFFINE), lambda: read_case_bundle(bundle, place)):
        with pytest.raises(InputError, match="already a case 'my_liver'"):
            act()
    assert (read_label_file(saved.path)[0] == labels).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"questions": [{"kind": "find", "label": 3}]}, "Spleen, which is not in the label map"),
        ({"questions": [{"kind": "name", "label": 1, "choices": [3, 5]}]}, "not among its choices"),
        ({"questions": [{"kind": "find", "label": 16}]}, "no label"),
        ({"view": {"center_label": 3}}, "centered on the id 3"),
        ({"region": "head"}, "the labels show abdomen"),
        ({"pair": {"healthy": "x", "lesion": 26}}, "lesion 26"),
        ({"id": "../elsewhere"}, "'id' must match"),
    ],
)
def test_a_case_that_does_not_fit_its_labels_is_not_saved(
    place: Path, labels: np.ndarray, change: dict, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        save_case(place, FIELDS | change, labels, AFFINE)
    assert not list(place.iterdir())


def test_labels_that_no_vocabulary_knows_are_not_saved(place: Path, labels: np.ndarray) -> None:
    for wrong in (16, 210):
        labels[0, 0, 0] = wrong
        with pytest.raises(InputError, match=f"id {wrong}, which is no label"):
            save_case(place, FIELDS, labels, AFFINE)
    with pytest.raises(InputError, match="unsigned bytes"):
        save_case(place, FIELDS, labels.astype(np.int16), AFFINE)
    assert not list(place.iterdir())


@pytest.mark.parametrize(
    "name",
    ["../evil.txt", "/etc/evil", "..\\evil", "C:\\evil", "sub/labels.nii.gz", "notes.txt", "CASE.JSON", "sub/"],
)
def test_a_bundle_with_anything_else_in_it_is_refused(place: Path, labels: np.ndarray, name: str) -> None:
    files = parts(save_case(place, FIELDS, labels, AFFINE).path.parent)
    bundle = zipped(place / "x.synthct-case", {**files, name: b"evil"})
    into = place / "into"
    into.mkdir()
    with pytest.raises(InputError, match="does not belong in a case"):
        read_case_bundle(bundle, into)
    assert not list(into.iterdir()) and not (place / "evil.txt").exists()


def test_a_bundle_with_a_link_or_a_file_twice_is_refused(place: Path, labels: np.ndarray) -> None:
    files = parts(save_case(place, FIELDS, labels, AFFINE).path.parent)
    link = place / "link.synthct-case"
    with zipfile.ZipFile(link, "w") as archive:
        archive.writestr("case.json", files["case.json"])
        entry = zipfile.ZipInfo("labels.nii.gz")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    twice = zipped(place / "twice.synthct-case", files)
    with zipfile.ZipFile(twice, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("case.json", b"{}")
    for bundle in (link, twice):
        with pytest.raises(InputError, match="does not belong in a case"):
            read_case_bundle(bundle, place)


@pytest.mark.parametrize("gone", ["case.json", "labels.nii.gz"])
def test_an_incomplete_bundle_is_refused(place: Path, labels: np.ndarray, gone: str) -> None:
    files = parts(save_case(place, FIELDS, labels, AFFINE).path.parent)
    del files[gone]
    with pytest.raises(InputError, match=gone.replace(".", r"\.")):
        read_case_bundle(zipped(place / "x.synthct-case", files), place / "into")


def test_a_damaged_bundle_is_refused_and_leaves_nothing(place: Path, labels: np.ndarray) -> None:
    bundle = write_case_bundle(save_case(place, FIELDS, labels, AFFINE), place / "x")
    data = bundle.read_bytes()
    into = place / "into"
    into.mkdir()
    middle = len(data) // 2
    for broken in (b"", b"no zip", data[:middle], data[: middle - 200] + bytes(200) + data[middle:]):
        bundle.write_bytes(broken)
        with pytest.raises(InputError):
            read_case_bundle(bundle, into)
        assert not list(into.iterdir())
    with pytest.raises(InputError, match="cannot be opened"):
        read_case_bundle(place / "missing.synthct-case", into)


def test_a_file_beyond_its_limit_is_refused(place: Path, labels: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = write_case_bundle(save_case(place, FIELDS, labels, AFFINE), place / "x")
    size = (place / "my_liver" / "labels.nii.gz").stat().st_size
    monkeypatch.setitem(case_bundle.LIMITS, "labels.nii.gz", size - 1)
    with pytest.raises(InputError, match="too large"):
        read_case_bundle(bundle, place / "into")


def test_a_label_map_that_unpacks_to_more_than_it_may_is_refused(place: Path) -> None:
    (place / "labels.nii.gz").write_bytes(gzip.compress(header_of((2000, 2000, 2000))))
    with pytest.raises(InputError, match="too many for a case"):
        read_label_file(place / "labels.nii.gz")


def header_of(shape: tuple[int, int, int]) -> bytes:
    image = nib.Nifti1Image(np.zeros((1, 1, 1), np.uint8), np.eye(4))
    image.header.set_data_shape(shape)
    image.header["vox_offset"] = 352
    return image.header.binaryblock + bytes(4)


def test_label_files_of_other_kinds_are_refused_in_words(place: Path, labels: np.ndarray) -> None:
    path = place / "labels.nii.gz"
    for array, words in ((labels.astype(np.int16), "unsigned bytes"), (labels[..., None].repeat(2, 3), "three axes")):
        nib.save(nib.Nifti1Image(array, AFFINE), path)
        with pytest.raises(InputError, match=words):
            read_label_file(path)
    write_label_file(path, labels, AFFINE)
    data = path.read_bytes()
    for broken in (b"", b"x" * 400, data[: len(data) // 2]):
        path.write_bytes(broken)
        with pytest.raises(InputError):
            read_label_file(path)


def test_what_cannot_be_written_is_said_and_nothing_is_left(tmp_path: Path, labels: np.ndarray) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("x", encoding="utf-8")
    with pytest.raises((ResourceError, InputError)):
        save_case(blocked, FIELDS, labels, AFFINE)
    saved = save_case(tmp_path, FIELDS, labels, AFFINE)
    with pytest.raises(ResourceError, match="cannot be written"):
        write_case_bundle(saved, tmp_path / "no" / "such" / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "my_liver"]


def test_a_ct_that_the_case_does_not_name_is_refused(place: Path, labels: np.ndarray, ct: Path) -> None:
    folder = save_case(place, FIELDS, labels, AFFINE, ct).path.parent
    data = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    del data["ct"]
    (folder / "case.json").write_text(json.dumps(data), encoding="utf-8")
    assert read_case(folder).ct is None
    with pytest.raises(InputError, match="does not name"):
        write_case_bundle(folder, place / "x")
