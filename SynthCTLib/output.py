"""Output: a folder that appears complete or not at all, and NIfTI files that say what they are."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil

from SynthCTLib.errors import InputError, ResourceError
from SynthCTLib.geometry import shear
from SynthCTLib.slabs import in_file_order
from SynthCTLib.volume import Volume

DISCLAIMER = "Synthetic, not a patient, not for clinical use"
PROGRAM = "SynthCT"
CT, MASK, REPORT, PREVIEW = "ct.nii.gz", "mask.nii.gz", "report.json", "preview.png"
MR = "mr.nii.gz"  # from models of MR, which take no mask
# What was computed, before it was brought onto the grid of the input.
CT_MODEL_GRID, MASK_MODEL_GRID = "ct_model_grid.nii.gz", "mask_model_grid.nii.gz"

_SHEAR = 1e-5  # cosine between axes: 0.005 mm over half a meter
_DESCRIPTION_BYTES = 79  # the header field has 80, with a closing zero
_RESULT_FILES = {CT, MR, MASK, CT_MODEL_GRID, MASK_MODEL_GRID, REPORT, PREVIEW}
_SYSTEM_FILES = {".DS_Store", "Thumbs.db", "desktop.ini"}
_NUMBERED = re.compile(r"\d{3,}")
_WORK_NAME = re.compile(r"\.synthct-(?P<host>[^-]*)-(?P<pid>\d+)-[0-9a-f]+(?P<old>-old)?\.part")


def write_nifti(path: Path, volume: Volume, description: str, provenance: dict[str, Any] | None = None) -> None:
    """Write a NIfTI-1 file that carries the disclaimer.

    Args:
        path: ends in ``.nii.gz`` or ``.nii``.
        volume: (X, Y, Z), written in its own type; affine → sform and qform, in RAS mm. A qform cannot hold a shear, so
            that a sheared grid has a sform only and no reader puts it elsewhere.
        description: follows the disclaimer in the header field ``descrip``, cut to 79 bytes.
        provenance: goes as JSON, with the disclaimer first, into a header extension of type comment.

    Raises:
        ResourceError: when the disk is full or the file cannot be written.
    """
    image = nib.Nifti1Image(in_file_order(np.asarray(volume.array)), volume.affine)
    image.set_sform(volume.affine, code=1)
    image.set_qform(volume.affine, code=int(shear(volume.affine) < _SHEAR), strip_shears=True)
    image.header.set_xyzt_units("mm")
    text = f"{DISCLAIMER}. {description}".encode("ascii", "replace")
    image.header["descrip"] = text[:_DESCRIPTION_BYTES]
    if provenance is not None:
        comment = json.dumps({"disclaimer": DISCLAIMER, **provenance})
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", comment.encode("utf-8")))
    with _disk_errors(path):
        nib.save(image, path)


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write JSON as UTF-8. Raises ResourceError when the disk is full or the file cannot be written."""
    with _disk_errors(path):
        path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def result_folders(out: Path, count: int) -> list[Path]:
    """Folders of ``count`` CTs: ``out`` itself for one, ``out/001``, ``out/002`` … for more."""
    return [out] if count == 1 else [out / f"{number:03d}" for number in range(1, count + 1)]


def check_target(out: Path, inputs: list[Path]) -> None:
    """Refuse a folder that holds an input, or anything that is not an earlier result of SynthCT.

    Raises:
        InputError: naming what is in the way.
    """
    resolved = out.resolve()
    for path in inputs:
        if path.resolve() == resolved or resolved in path.resolve().parents:
            raise InputError(f"The output folder '{out}' contains the input '{path.name}'; choose another folder.")
    if out.exists() and not out.is_dir():
        raise InputError(f"The output folder '{out}' is a file; choose another name.")
    if out.is_dir() and not _is_result(out):
        raise InputError(
            f"The folder '{out}' holds files that are no result of SynthCT; choose a new or empty folder, "
            "so that nothing of yours is overwritten."
        )


@contextmanager
def atomic_folder(out: Path) -> Iterator[Path]:
    """A folder to work in that becomes ``out`` when the block ends without an exception, and vanishes otherwise.

    It lies beside ``out``, so that the last step is a rename. An earlier result in ``out`` is moved aside and, when the
    new one is in its place, removed. What killed processes of this computer have left behind is put right first.

    Raises:
        InputError: when the place cannot be written. ResourceError: when the rename fails or the disk is full.
    """
    out = out.absolute()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(out.parent)
        work = out.parent / f".synthct-{_host()}-{os.getpid()}-{secrets.token_hex(4)}.part"
        work.mkdir()
    except OSError as error:
        message = f"Nothing can be written beside '{out}' ({error.strerror}); choose another output folder."
        raise InputError(message) from error
    try:
        yield work
        _publish(work, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def remove_stale(parent: Path) -> None:
    """Remove working folders in ``parent`` whose process, on this computer, is gone.

    An earlier result that such a process had moved aside comes back, unless the new one is in its place.
    """
    for folder in list(parent.glob(".synthct-*.part")):
        match = _WORK_NAME.fullmatch(folder.name)
        if match and match["host"] == _host() and not psutil.pid_exists(int(match["pid"])):
            if match["old"]:
                _put_back(folder)
            shutil.rmtree(folder, ignore_errors=True)


def _publish(work: Path, out: Path) -> None:
    old = work.with_name(work.name.replace(".part", "-old.part"))
    try:
        try:
            if out.exists():
                old.mkdir()
                out.replace(old / out.name)  # inside, so that whoever finds it knows its name
            work.replace(out)
        except BaseException:
            _put_back(old)
            raise
    except OSError as error:
        message = f"The result could not be put into '{out}' ({error.strerror}); close programs that use it and retry."
        raise ResourceError(message) from error
    finally:
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)


def _put_back(old: Path) -> None:
    """Move what was moved aside into ``old`` back to where nothing has taken its place."""
    for earlier in old.glob("*"):
        place = old.parent / earlier.name
        if not place.exists():
            earlier.replace(place)


def _is_result(folder: Path) -> bool:
    """True for an empty folder, an earlier result, or numbered folders that are earlier results."""
    entries = [entry for entry in folder.iterdir() if entry.name not in _SYSTEM_FILES]
    if all(entry.is_dir() and _NUMBERED.fullmatch(entry.name) for entry in entries):
        return all(_is_single_result(entry) for entry in entries)
    return _is_single_result(folder)


def _is_single_result(folder: Path) -> bool:
    names = {entry.name for entry in folder.iterdir()} - _SYSTEM_FILES
    if not names <= _RESULT_FILES or REPORT not in names:
        return False
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(report, dict) and report.get("program") == PROGRAM


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9_.]", "_", socket.gethostname())


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ResourceError(f"The disk is full at '{path.parent}'; free some space and run again.") from error
        raise ResourceError(f"'{path}' cannot be written ({error}); choose another output folder.") from error
