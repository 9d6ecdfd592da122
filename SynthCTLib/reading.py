"""Any segmentation that users have → one label map in MAISI ids.

What is read: NIfTI (.nii, .nii.gz), NRRD (.nrrd), Slicer segmentations (.seg.nrrd), and folders with one mask per
structure. What the labels are called decides where the file says it; else the numbers do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from SynthCTLib.errors import InputError
from SynthCTLib.findings import Finding
from SynthCTLib.labels import Vocabulary, load_vocabulary
from SynthCTLib.reading_folder import read_folder
from SynthCTLib.reading_nifti import read_nifti_image, read_nifti_labels
from SynthCTLib.reading_nrrd import Layers, read_nrrd, read_nrrd_image
from SynthCTLib.reading_segments import compose_segments
from SynthCTLib.reading_values import RawLabels
from SynthCTLib.schemes import TITLES, apply_table, detect_scheme, id_table, number_table, read_label_map, unknown_ids
from SynthCTLib.slabs import count_ids
from SynthCTLib.volume import Volume

SCHEMES = ("maisi", "totalsegmentator", "names", "map")


@dataclass(frozen=True)
class Segmentation:
    """``volume``: uint8 MAISI ids (X, Y, Z) with axes and affine as in the file. ``format``: nifti, nrrd, seg.nrrd or
    folder. ``scheme``: one of :data:`SCHEMES`. ``notes``: what was decided or noticed while reading."""

    volume: Volume
    format: str
    scheme: str
    notes: list[Finding] = field(default_factory=list)


def read_segmentation(
    path: Path | str, scheme: str | None = None, label_map: Path | str | Mapping[str, Any] | None = None
) -> Segmentation:
    """Read a segmentation and translate it into MAISI ids.

    Args:
        path: a file or a folder of masks.
        scheme: ``maisi`` or ``totalsegmentator`` for a map of numbers, ``names`` where the file must name its labels;
            None: found out.
        label_map: JSON file (or a dict) from numbers, segment names or file names to label names or MAISI ids.

    Raises:
        InputError: it cannot be read, is empty, or holds something that is no known label.
        AmbiguousInputError: the numbers fit several schemes; ``choices`` (of the setting ``labels``) lists them.
    """
    path = Path(path)
    vocabulary = load_vocabulary()
    if scheme is not None and scheme not in SCHEMES:
        raise InputError(f"The label scheme '{scheme}' does not exist; choose one of {', '.join(SCHEMES)}.")
    if scheme == "map" and label_map is None:
        raise InputError("The label scheme 'map' needs a JSON file that says what each number means; give its path.")
    names = read_label_map(label_map, vocabulary) if label_map is not None else None
    if path.is_dir():
        _refuse_numbers(scheme, path.name)
        volume, notes = read_folder(path, vocabulary, lambda stems: resolve_names(stems, path.name, vocabulary, names))
        result = Segmentation(volume, "folder", "map" if names else "names", notes)
    else:
        result = _read_file(path, scheme, names, vocabulary)
    if not result.volume.array.any():
        raise InputError(
            f"{path.name} is empty: no voxel has a label; check that the segmentation was exported completely."
        )
    return result


def read_image(path: Path | str) -> Volume:
    """Read a CT (NIfTI or NRRD) as float32 HU, axes and affine as in the file. Raises InputError."""
    path = Path(path)
    return read_nrrd_image(path) if _suffix(path) == ".nrrd" else read_nifti_image(path)


def resolve_names(
    wanted: Iterable[str], source: str, vocabulary: Vocabulary, names: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Names → MAISI ids, the user's map first. Raises one InputError for all unknown names, with the nearest ones."""
    found: dict[str, int] = {}
    problems: list[str] = []
    for name in wanted:
        if names is not None and name in names:
            found[name] = names[name]
            continue
        try:
            label = vocabulary.find(name)
        except InputError as error:
            problems.append(str(error).rstrip("."))
            continue
        if label.dummy:
            problems.append(f"'{name}' is a label that MAISI reserves and never uses")
        found[name] = label.id
    if problems:
        more = f" (and {len(problems) - 4} more)" if len(problems) > 4 else ""
        raise InputError(
            f"{source} holds unknown structures{more}: {'; '.join(problems[:4])}. "
            "Rename them, or give a JSON map that names a label (or null to leave it out) for each."
        )
    return found


def _read_file(path: Path, scheme: str | None, names: Mapping[str, int] | None, vocabulary: Vocabulary) -> Segmentation:
    if _suffix(path) == ".nrrd":
        raw = read_nrrd(path)
        if isinstance(raw, Layers):
            _refuse_numbers(scheme, path.name)
            volume, notes = compose_segments(raw, path.name, vocabulary, names)
            return Segmentation(volume, "seg.nrrd", "map" if names else "names", raw.notes + notes)
        return _from_numbers(raw, path.name, "nrrd", scheme, names, vocabulary)
    return _from_numbers(read_nifti_labels(path), path.name, "nifti", scheme, names, vocabulary)


def _from_numbers(
    raw: RawLabels, name: str, format_: str, scheme: str | None, names: Mapping[str, int] | None, vocabulary: Vocabulary
) -> Segmentation:
    present = [int(i) for i in np.flatnonzero(count_ids(raw.array)) if i]
    scheme, table, notes = _table(raw, present, name, scheme, names, vocabulary)
    unknown = [i for i in present if i not in table]
    if unknown:
        raise unknown_ids(name, unknown, vocabulary, TITLES.get(scheme, "the numbers that the label map explains"))
    volume = Volume(apply_table(raw.array, table), raw.affine)
    return Segmentation(volume, format_, scheme, raw.notes + notes)


def _table(
    raw: RawLabels,
    present: list[int],
    name: str,
    scheme: str | None,
    names: Mapping[str, int] | None,
    vocabulary: Vocabulary,
) -> tuple[str, dict[int, int], list[Finding]]:
    """(scheme, stored number → MAISI id, notes); the user's map first, then the scheme, then names in the file."""
    if names is not None:
        return "map", number_table(names), []
    if scheme in TITLES:
        return str(scheme), id_table(str(scheme), vocabulary), []
    if raw.names is not None:
        used = {number: raw.names[number] for number in present if number in raw.names}
        ids = resolve_names(used.values(), name, vocabulary)
        note = Finding("info", "scheme-detected", f"{name} names its labels itself; the names were used.")
        return "names", {number: ids[text] for number, text in used.items()}, [note]
    if scheme == "names":
        raise InputError(f"{name} holds numbers without names; choose the label scheme maisi or totalsegmentator.")
    if not present:
        return "maisi", {}, []
    detected, reason = detect_scheme(Volume(raw.array, raw.affine), present, name, vocabulary)
    message = f"The numbers of {name} were read as {TITLES[detected]} ({reason})."
    advice = "Name the label scheme if that is wrong."
    return detected, id_table(detected, vocabulary), [Finding("info", "scheme-detected", message, advice)]


def _refuse_numbers(scheme: str | None, name: str) -> None:
    if scheme in TITLES:
        raise InputError(f"{name} names its structures, so the label scheme '{scheme}' does not apply; leave it out.")


def _suffix(path: Path) -> str:
    """.nii or .nrrd. Raises InputError for a missing file and for any other kind."""
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path.")
    name = path.name.lower()
    if name.endswith(".nrrd"):
        return ".nrrd"
    if name.endswith((".nii", ".nii.gz")):
        return ".nii"
    raise InputError(
        f"{path.name} is none of the formats that can be read; give NIfTI (.nii, .nii.gz), NRRD (.nrrd, .seg.nrrd) "
        "or a folder of masks."
    )
