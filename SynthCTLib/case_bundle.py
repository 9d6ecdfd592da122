"""A case as a single file, ``NAME.synthct-case``: a ZIP archive with ``case.json``, ``labels.nii.gz`` and maybe a CT.

Standard library and NumPy only, since it runs in 3D Slicer's own process. A bundle comes from anywhere: nothing in it
decides where or how much is written, and nothing is kept before all of it has been checked.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from SynthCTLib.case_check import case_problems
from SynthCTLib.cases import CASE_FILE, CT_FILE, LABELS_FILE, SCHEMA, Case, case_from_json, read_case
from SynthCTLib.errors import InputError, ResourceError
from SynthCTLib.label_file import read_label_file, write_label_file

SUFFIX = ".synthct-case"
LIMITS = {CASE_FILE: 2**20, LABELS_FILE: 2**26, CT_FILE: 2**29}
"""Bytes that each file may have: 1 MB of text, 64 MB of compressed labels, 512 MB of compressed CT."""

_CHUNK = 2**20
_DATE = (1980, 1, 1, 0, 0, 0)  # the same case gives the same bytes


def save_case(
    parent: Path, case: Mapping[str, Any], labels: np.ndarray, affine: np.ndarray, ct: Path | None = None
) -> Case:
    """Write a case as a new folder ``parent/<id>``, which appears complete or not at all.

    Args:
        case: fields of ``case.json``; ``schema``, ``labels``, ``file`` and ``ct`` are filled in.
        labels: (X, Y, Z) uint8, MAISI ids. affine: (4, 4), voxel index → RAS mm.
        ct: a ``.nii.gz`` file on the same grid, copied.

    Raises:
        InputError: a field breaks the schema, does not fit the labels, or the folder exists. ResourceError: disk.
    """
    data = {**case, "schema": SCHEMA, "labels": "maisi", "file": LABELS_FILE}
    data.pop("ct", None)
    if ct is not None:
        data["ct"] = CT_FILE
    target = Path(parent) / case_from_json(data, Path(parent)).id
    with _new_folder(target) as work:
        (work / CASE_FILE).write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        write_label_file(work / LABELS_FILE, labels, affine)
        if ct is not None:
            shutil.copyfile(ct, work / CT_FILE)
        _check(work)
    return read_case(target)


def write_case_bundle(case: Case | Path, path: Path) -> Path:
    """Put a case (or the folder of one) into a single file; returns its path, which ends in ``.synthct-case``.

    An existing file is replaced when the new one is complete. Raises InputError for a case that could not be opened
    again, ResourceError when the file cannot be written.
    """
    folder = case.path.parent if isinstance(case, Case) else Path(case)
    checked = _check(folder)
    files = [folder / CASE_FILE, checked.path, *([checked.ct] if checked.ct is not None else [])]
    path = Path(path) if Path(path).suffix == SUFFIX else Path(f"{path}{SUFFIX}")
    part = path.with_name(f".{path.name}-{secrets.token_hex(4)}.part")
    try:
        with zipfile.ZipFile(part, "w") as archive:
            for file in files:
                entry = zipfile.ZipInfo(file.name, _DATE)
                entry.compress_type = zipfile.ZIP_DEFLATED if file.suffix == ".json" else zipfile.ZIP_STORED
                with file.open("rb") as source, archive.open(entry, "w") as target:
                    _copy(source, target, LIMITS[file.name], file.name)
        part.replace(path)
    except OSError as error:
        raise ResourceError(f"'{path}' cannot be written ({error}); choose another place or free space.") from error
    finally:
        part.unlink(missing_ok=True)
    return path


def read_case_bundle(path: Path, into: Path) -> Case:
    """Unpack a bundle into ``into/<id>``, a new folder that appears complete or not at all, and return the case.

    Raises:
        InputError: the file is no bundle, holds anything that does not belong in one, is too large, breaks the schema,
            does not fit its labels, or a case of this id is already there. ResourceError: when it cannot be written.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _entries(archive, path)
            with archive.open(entries[CASE_FILE]) as source:
                text = source.read(LIMITS[CASE_FILE] + 1)
            # The name of the folder is the id, which the schema keeps to letters, digits, "-" and "_".
            target = Path(into) / case_from_json(_parse(text, path), Path(into)).id
            with _new_folder(target) as work:
                for name, entry in entries.items():
                    with archive.open(entry) as source, (work / name).open("xb") as file:
                        _copy(source, file, LIMITS[name], name)
                _check(work)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise InputError(f"'{path}' is no complete case file ({error}); get it again.") from error
    except OSError as error:
        raise InputError(f"'{path}' cannot be opened ({error}); check its path.") from error
    return read_case(target)


def _entries(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The files of a bundle by name. Raises InputError unless they are exactly those that belong in one."""
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        mode = entry.external_attr >> 16
        special = entry.is_dir() or (stat.S_IFMT(mode) not in (0, stat.S_IFREG))
        if entry.filename not in LIMITS or entry.filename in entries or special:
            raise InputError(f"'{path}' holds '{entry.filename}', which does not belong in a case; it was not opened.")
        if entry.file_size > LIMITS[entry.filename]:
            raise InputError(f"'{entry.filename}' in '{path}' is too large for a case; it was not opened.")
        entries[entry.filename] = entry
    missing = [name for name in (CASE_FILE, LABELS_FILE) if name not in entries]
    if missing:
        raise InputError(f"'{path}' is no case file: '{missing[0]}' is missing in it.")
    return entries


def _parse(text: bytes, path: Path) -> Any:
    try:
        return json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"'{path}' has a damaged '{CASE_FILE}'; get the case again.") from error


def _copy(source: IO[bytes], target: IO[bytes], limit: int, name: str) -> None:
    """Copy at most ``limit`` bytes: what an archive says about its sizes may be untrue."""
    copied = 0
    while chunk := source.read(_CHUNK):
        copied += len(chunk)
        if copied > limit:
            raise InputError(f"'{name}' is larger than {limit // 2**20} MB, too large for a case.")
        target.write(chunk)


def _check(folder: Path) -> Case:
    """The case of a folder. Raises InputError naming the first thing that does not fit."""
    case = read_case(folder)
    problems = case_problems(case, read_label_file(case.path)[0])
    if problems:
        raise InputError(f"The case '{case.id}' cannot be used: {problems[0]} Correct it and try again.")
    files = {CASE_FILE, LABELS_FILE, *([CT_FILE] if case.ct is not None else [])}
    extra = {entry.name for entry in folder.iterdir()} & set(LIMITS) - files
    if extra:
        raise InputError(f"The case '{case.id}' has a file '{extra.pop()}' that its {CASE_FILE} does not name.")
    return case


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """A folder to work in that becomes ``target`` at the end, and vanishes when anything fails."""
    if target.exists():
        raise InputError(f"There is already a case '{target.name}' in '{target.parent}'; rename or remove one of them.")
    work = target.parent / f".{target.name}-{os.getpid()}-{secrets.token_hex(4)}.part"
    try:
        work.mkdir(parents=True)
        yield work
        work.rename(target)
    except OSError as error:
        raise ResourceError(f"'{target}' cannot be written ({error}); choose another place or free space.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
