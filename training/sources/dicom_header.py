"""The few header entries that tell what a DICOM file is and where its slice lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SynthCTLib.errors import InputError

_TAGS = [
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "PatientID",
    "Modality",
    "ImageType",
    "BodyPartExamined",
    "SeriesDescription",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "RescaleIntercept",
    "GantryDetectorTilt",
    "ReferencedSeriesSequence",
    "ReferencedFrameOfReferenceSequence",
]


@dataclass(frozen=True)
class Header:
    """One file. ``position`` (3,), ``directions`` (2, 3: along a row, along a column) in LPS mm, NaN where missing;
    ``spacing``: mm between rows, between columns; ``references``: series that an RTSTRUCT or SEG belongs to."""

    path: Path
    series: str
    frame: str
    patient: str
    modality: str
    body_part: str
    description: str
    localizer: bool
    frames: int
    size: tuple[int, int]
    position: np.ndarray
    directions: np.ndarray
    spacing: np.ndarray
    rescaled: bool
    tilt: float
    references: frozenset[str]


def is_dicom(path: Path) -> bool:
    """Whether a file has the mark of DICOM behind its preamble, or at least a name that says so."""
    if path.suffix.lower() in (".dcm", ".dicom", ".ima"):
        return True
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def header_of(path: Path) -> Header:
    """Read one file's header, never its pixels. Raises InputError."""
    import pydicom

    try:
        data = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
        series = str(data.SeriesInstanceUID)
        return Header(
            path=path,
            series=series,
            frame=str(data.get("FrameOfReferenceUID", "")),
            patient=str(data.get("PatientID", "") or "").strip(),
            modality=str(data.get("Modality", "") or ""),
            body_part=str(data.get("BodyPartExamined", "") or ""),
            description=str(data.get("SeriesDescription", "") or ""),
            localizer="LOCALIZER" in [str(part).upper() for part in data.get("ImageType", None) or []],
            frames=int(data.get("NumberOfFrames", 1) or 1),
            size=(int(data.get("Rows", 0) or 0), int(data.get("Columns", 0) or 0)),
            position=_numbers(data, "ImagePositionPatient", 3),
            directions=_numbers(data, "ImageOrientationPatient", 6).reshape(2, 3),
            spacing=_numbers(data, "PixelSpacing", 2),
            rescaled="RescaleIntercept" in data,
            tilt=float(data.get("GantryDetectorTilt", 0) or 0),
            references=_references(data),
        )
    except (OSError, EOFError, ValueError, TypeError, AttributeError, KeyError, pydicom.errors.InvalidDicomError) as e:
        raise InputError(f"{path.name} cannot be read: it is damaged, cut off or no DICOM image.") from e


def _numbers(data: Any, name: str, count: int) -> np.ndarray:
    values = data.get(name, None)
    if values is None or len(values) != count:
        return np.full(count, np.nan)
    return np.array([float(value) for value in values])


def _references(data: Any) -> frozenset[str]:
    """Series named by a SEG (directly) or an RTSTRUCT (below its frames of reference and studies)."""
    series = [str(item.SeriesInstanceUID) for item in data.get("ReferencedSeriesSequence", [])]
    for frame in data.get("ReferencedFrameOfReferenceSequence", []):
        for study in frame.get("RTReferencedStudySequence", []):
            series += [str(item.SeriesInstanceUID) for item in study.get("RTReferencedSeriesSequence", [])]
    return frozenset(series)
