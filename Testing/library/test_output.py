"""Output: complete or absent, never over the user's files, and marked as synthetic."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from SynthCTLib import output
from SynthCTLib.errors import InputError, ResourceError
from SynthCTLib.geometry import nearest_rotation
from SynthCTLib.output import DISCLAIMER, atomic_folder, check_target, remove_stale, write_json, write_nifti
from SynthCTLib.volume import Volume

ROOT = Path(__file__).resolve().parents[2]
OBLIQUE = np.array([[1.9, 0.3, 0.1, -90.0], [-0.3, 1.9, 0.2, 40.0], [-0.1, -0.2, 3.0, 12.5], [0, 0, 0, 1]])
OBLIQUE[:3, :3] = nearest_rotation(OBLIQUE) * [1.9, 1.9, 3.0]


def earlier_result(folder: Path) -> None:
    folder.mkdir(parents=True)
    write_json(folder / "report.json", {"program": "SynthCT"})
    (folder / "ct.nii.gz").write_bytes(b"old")


def test_the_folder_appears_when_the_block_ends_and_not_before(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out ü"
    with atomic_folder(out) as work:
        (work / "ct.nii.gz").write_bytes(b"x")
        assert not out.exists()
    assert (out / "ct.nii.gz").read_bytes() == b"x"
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_no_trace(tmp_path: Path, kind: type[BaseException]) -> None:
    with pytest.raises(kind), atomic_folder(tmp_path / "out") as work:
        (work / "ct.nii.gz").write_bytes(b"x")
        raise kind
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_an_earlier_result_as_it_was(tmp_path: Path) -> None:
    earlier_result(tmp_path / "out")
    with pytest.raises(ValueError), atomic_folder(tmp_path / "out"):
        raise ValueError
    assert (tmp_path / "out" / "ct.nii.gz").read_bytes() == b"old"


def test_an_earlier_result_is_replaced_as_a_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    earlier_result(out)
    check_target(out, [])
    with atomic_folder(out) as work:
        (work / "mask.nii.gz").write_bytes(b"new")
    assert [path.name for path in out.iterdir()] == ["mask.nii.gz"]
    assert list(tmp_path.iterdir()) == [out]


def test_an_earlier_result_comes_back_when_the_new_one_cannot_be_put_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier_result(tmp_path / "out")
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if self.name.startswith(".synthct-") and not self.name.endswith("-old.part"):
            raise OSError(errno.EACCES, "in use")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(ResourceError, match="in use"), atomic_folder(tmp_path / "out"):
        pass
    assert (tmp_path / "out" / "ct.nii.gz").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_bytes(b"x")
    with pytest.raises(InputError, match="new or empty folder"):
        check_target(tmp_path, [])


def test_a_real_ct_that_happens_to_have_our_file_name_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "ct.nii.gz").write_bytes(b"a patient")
    with pytest.raises(InputError, match="new or empty folder"):
        check_target(tmp_path, [])
    write_json(tmp_path / "report.json", {"program": "another"})
    with pytest.raises(InputError, match="new or empty folder"):
        check_target(tmp_path, [])


def test_numbered_results_and_empty_folders_may_be_replaced(tmp_path: Path) -> None:
    earlier_result(tmp_path / "many" / "001")
    earlier_result(tmp_path / "many" / "002")
    check_target(tmp_path / "many", [])
    (tmp_path / "empty").mkdir()
    check_target(tmp_path / "empty", [])
    (tmp_path / "many" / "002" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError):
        check_target(tmp_path / "many", [])


def test_an_output_folder_that_holds_the_input_is_refused(tmp_path: Path) -> None:
    earlier_result(tmp_path / "out")
    for mask in (tmp_path / "out" / "ct.nii.gz", tmp_path / "out"):
        with pytest.raises(InputError, match="contains the input"):
            check_target(tmp_path / "out", [mask])


def test_a_file_in_place_of_the_output_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"x")
    with pytest.raises(InputError, match="is a file"):
        check_target(tmp_path / "out", [])
    with pytest.raises(InputError, match="Nothing can be written"), atomic_folder(tmp_path / "out" / "below"):
        pass


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_uses_is_not(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host = output._host()
    dead, alive, foreign, other = (
        tmp_path / name
        for name in (
            f".synthct-{host}-{gone.pid}-0badcafe.part",
            f".synthct-{host}-{os.getpid()}-0badcafe.part",
            f".synthct-another_computer-{gone.pid}-0badcafe.part",
            ".synthct-notes.part",
        )
    )
    for folder in (dead, alive, foreign, other):
        folder.mkdir()
        (folder / "ct.nii.gz").write_bytes(b"x")
    remove_stale(tmp_path)
    assert not dead.exists()
    assert alive.exists() and foreign.exists() and other.exists()


def test_an_earlier_result_survives_a_process_that_is_killed_between_the_two_renames(tmp_path: Path) -> None:
    out = tmp_path / "out ü"
    earlier_result(out)
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from SynthCTLib.output import atomic_folder\n"
        "real = Path.replace\n"
        "def replace(self, target):\n"
        "    if self.name.startswith('.synthct-'):\n"
        "        os._exit(9)\n"
        "    return real(self, target)\n"
        "Path.replace = replace\n"
        "with atomic_folder(Path(sys.argv[1])) as work:\n"
        "    (work / 'ct.nii.gz').write_bytes(b'new')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(out)], cwd=ROOT, timeout=60)
    assert done.returncode == 9 and not out.exists()
    remove_stale(tmp_path)
    assert (out / "ct.nii.gz").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [out]


def test_an_earlier_result_is_not_put_back_over_the_new_one(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    earlier_result(tmp_path / f".synthct-{output._host()}-{gone.pid}-0badcafe-old.part" / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "ct.nii.gz").write_bytes(b"new")
    remove_stale(tmp_path)
    assert (tmp_path / "out" / "ct.nii.gz").read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_world_positions_and_values_survive_the_file(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4) - 1000
    write_nifti(tmp_path / "v.nii.gz", Volume(values, OBLIQUE), "test")
    image = nib.load(tmp_path / "v.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj), values)
    np.testing.assert_allclose(image.affine, OBLIQUE, atol=1e-4)
    assert image.get_data_dtype() == np.int16 and image.header.get_xyzt_units()[0] == "mm"
    assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == 1


def test_a_sheared_grid_has_one_position_in_the_file_and_not_two(tmp_path: Path) -> None:
    sheared = OBLIQUE @ np.array([[1, 0, 0.2, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    write_nifti(tmp_path / "v.nii.gz", Volume(np.zeros((2, 2, 2), np.uint8), sheared), "test")
    image = nib.load(tmp_path / "v.nii.gz")
    np.testing.assert_allclose(image.affine, sheared, atol=1e-4)
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 0)


def test_the_disclaimer_fits_the_header_whatever_follows_it(tmp_path: Path) -> None:
    volume = Volume(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    provenance: dict[str, Any] = {"model": {"id": "größe"}, "seed": 3}
    write_nifti(tmp_path / "v.nii.gz", volume, "größe " * 30, provenance)
    header = nib.load(tmp_path / "v.nii.gz").header
    text = header["descrip"].item()
    assert text.startswith(DISCLAIMER.encode()) and len(text) == 79
    (extension,) = header.extensions
    assert extension.get_code() == 6
    assert json.loads(extension.get_content()) == {"disclaimer": DISCLAIMER, **provenance}


def test_a_full_disk_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(nib, "save", full)
    with pytest.raises(ResourceError, match="disk is full"):
        write_nifti(tmp_path / "v.nii.gz", Volume(np.zeros((2, 2, 2), np.uint8), np.eye(4)), "x")
