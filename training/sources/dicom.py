"""A folder of DICOM files in any order: each CT series is a case; RTSTRUCT and SEG files give its labels.

With ``modality`` ``mr`` (or a class of it, as ``mri_t1``) the MR series are the cases; ``series`` is a pattern for the
series description. Other series (PET, localizers, radiographs) and unreadable files are listed with the reason.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from SynthCTLib.errors import InputError
from SynthCTLib.findings import Finding
from SynthCTLib.reading_folder import SUFFIXES
from SynthCTLib.volume import Volume
from training.config import Config
from training.intensities import family_of
from training.sources.case import Case, Found, LeftOut, Reading
from training.sources.dicom_header import Header, header_of, is_dicom
from training.sources.dicom_labels import read_dicom_labels
from training.sources.dicom_stack import Stack, stack
from training.sources.naming import case_name, patient_of, pseudonym

_BODY_PARTS = {
    "HEAD": ("head",),
    "BRAIN": ("head",),
    "SKULL": ("head",),
    "NECK": ("head",),
    "HEADNECK": ("head",),
    "CHEST": ("chest",),
    "LUNG": ("chest",),
    "THORAX": ("chest",),
    "ABDOMEN": ("abdomen",),
    "LIVER": ("abdomen",),
    "PANCREAS": ("abdomen",),
    "CHESTABDOMEN": ("chest", "abdomen"),
    "ABDOMENPELVIS": ("abdomen", "pelvis"),
    "CHESTABDPELVIS": ("chest", "abdomen", "pelvis"),
    "PELVIS": ("pelvis",),
    "HIP": ("pelvis",),
    "WHOLEBODY": ("head", "chest", "abdomen", "pelvis"),
}


def find(root: Path, settings: Config) -> Found:
    """Every series below ``root``, ordered by its path."""
    headers: list[Header] = []
    odd: list[str] = []
    for path in _files(root):
        if not is_dicom(path):
            odd.append(path.relative_to(root).as_posix())
            continue
        try:
            headers.append(header_of(path))
        except InputError as error:
            yield LeftOut(path.relative_to(root).as_posix(), str(error))
    if odd:
        shown = ", ".join(odd[:5]) + (f" and {len(odd) - 5} more" if len(odd) > 5 else "")
        yield LeftOut(".", f"neither images nor DICOM: {shown}")
    series: dict[str, list[Header]] = defaultdict(list)
    for header in headers:
        series[header.series].append(header)
    label_files = [h for h in headers if h.modality in ("RTSTRUCT", "SEG")]
    used: set[Path] = set()
    for members in sorted(series.values(), key=lambda group: min(h.path for h in group)):
        if members[0].modality in ("RTSTRUCT", "SEG"):
            continue
        found = _series_case(root, members, label_files, settings)
        if isinstance(found, Case):
            used.update(found.files)
        yield found
    for header in label_files:
        if header.path not in used:
            reason = f"{header.modality} of a CT series that is not here or not used"
            yield LeftOut(header.path.relative_to(root).as_posix(), reason)


def _files(root: Path) -> Iterator[Path]:
    """Files that may be DICOM, without hidden ones, directories of media (DICOMDIR) and images of other formats."""
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.is_file() and not hidden and path.name != "DICOMDIR" and not path.name.lower().endswith(SUFFIXES):
            yield path


def _series_case(root: Path, members: list[Header], label_files: list[Header], settings: Config) -> Case | LeftOut:
    first = min(members, key=lambda header: header.path)
    folder = first.path.parent.relative_to(root)
    where = f"{folder.as_posix()} (series {first.series[-12:]})"
    slices = [header for header in members if not header.localizer]
    wanted = (family_of(settings.get("modality", "ct")) or "").upper()
    if first.modality != wanted:
        return LeftOut(where, f"modality {first.modality or 'not stated'}, not {wanted}")
    if settings.get("series") and not re.search(settings["series"], first.description, re.IGNORECASE):
        return LeftOut(where, f"its series description '{first.description}' does not fit the pattern 'series'")
    if not slices:
        return LeftOut(where, "a localizer, not a volume")
    try:
        patient = _patient(first, settings)
    except InputError as error:
        return LeftOut(where, str(error))
    own = [h for h in label_files if _belongs(h, first)]
    files = tuple(sorted(h.path for h in [*slices, *own]))
    base = patient if settings.get("patient") else case_name(folder)
    return Case(
        case_id=f"{base}_{pseudonym(first.series)[1:7]}",
        patient=patient,
        files=files,
        read=partial(_read, slices, [h.path for h in own], len(members) - len(slices), settings),
        identified=True,
        region=_BODY_PARTS.get(first.body_part.upper().replace(" ", "").replace("_", ""), ()),
    )


def _patient(header: Header, settings: Config) -> str:
    """The patient id where a pattern is given, else a pseudonym: ids of a clinic stay out of the results."""
    if not header.patient:
        raise InputError("no patient id in its headers, so that it cannot be kept on one side of the split")
    pattern = settings.get("patient")
    try:
        return patient_of(header.patient, pattern, pseudonym(header.patient))
    except InputError as error:
        raise InputError(f"the patient id in its headers does not fit the pattern '{pattern}'") from error


def _belongs(labels: Header, image: Header) -> bool:
    """Whether an RTSTRUCT or SEG names this series, or, naming none, lies in its frame of reference."""
    if labels.references:
        return image.series in labels.references
    return bool(labels.frame) and labels.frame == image.frame


def _read(slices: list[Header], labels: list[Path], localizers: int, settings: Config) -> Reading:
    """Image in HU and labels. Raises InputError for a series that is no regular stack."""
    ordered = stack(slices)
    image = Volume(_pixels(ordered), ordered.affine)
    notes = list(ordered.notes)
    if localizers:
        notes.append(Finding("info", "localizer", f"{localizers} localizer images of the series were left out."))
    if not labels:
        return Reading(image, notes=notes)
    volume, more = read_dicom_labels(labels, image, settings.get("labels"))
    return Reading(image, volume, notes=notes + more)


def _pixels(ordered: Stack) -> np.ndarray:
    """(X, Y, Z) float32 in HU: columns, rows and slices of the files in order, rescaled slice by slice."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in ordered.files])
    reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        array = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        raise InputError(
            f"The pixels of {ordered.files[0].name} and its series cannot be read: they are cut off, damaged or in an "
            "unknown compression."
        ) from error
    return array.transpose(2, 1, 0)
