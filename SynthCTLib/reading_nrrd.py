"""Reading NRRD label maps and Slicer segmentations (.seg.nrrd)."""

from __future__ import annotations

import re
import warnings
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nrrd
import numpy as np

from SynthCTLib.errors import InputError
from SynthCTLib.findings import Finding
from SynthCTLib.reading_values import RawLabels, check_affine, check_shape, missing_affine, read_ids
from SynthCTLib.volume import Volume

DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    zlib.error,
    KeyError,
    IndexError,
    OverflowError,
    nrrd.NRRDError,
    AssertionError,
)
_TO_RAS = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}
_SEGMENT_FIELD = re.compile(r"Segment(\d+)_(ID|Name|LabelValue|Layer|Tags)$")


@dataclass(frozen=True)
class Segment:
    """One segment of a Slicer segmentation: voxels of ``layer`` equal to ``value``; ``tags`` as Slicer stores them."""

    name: str
    value: int
    layer: int
    tags: dict[str, str]


@dataclass(frozen=True)
class Layers:
    """A Slicer segmentation: layers (X, Y, Z), uint8 or uint16, which may overlap one another."""

    arrays: list[np.ndarray]
    affine: np.ndarray
    segments: list[Segment]
    notes: list[Finding] = field(default_factory=list)


def read_nrrd(path: Path) -> RawLabels | Layers:
    """Read an NRRD label map, or a Slicer segmentation where the header lists segments. Raises InputError."""
    header, data = _load(path)
    try:
        segments = _segments(header)
    except ValueError as error:
        raise InputError(
            f"The list of segments in {path.name} is damaged; save the segmentation again in Slicer."
        ) from error
    affine, notes = _affine(header, path.name)
    if not segments:
        return RawLabels(_ids(_volume(data, path.name), path.name), affine, None, notes)
    arrays = [_ids(_volume(layer, path.name), path.name) for layer in _split(header, data)]
    missing = [segment.name for segment in segments if not 0 <= segment.layer < len(arrays)]
    if missing:
        raise InputError(
            f"{path.name} names layers that it does not hold (segment {missing[0]}); save it again in Slicer."
        )
    return Layers(arrays, affine, segments, notes)


def read_nrrd_image(path: Path) -> Volume:
    """Read an NRRD image (a CT in HU) as float32, axes in file order. Raises InputError."""
    header, data = _load(path)
    affine, _ = _affine(header, path.name)
    values = _volume(data, path.name)
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise InputError(f"{path.name} holds values that are not numbers; give a CT in Hounsfield units.")
    return Volume(values.astype(np.float32, copy=False), affine)


def _load(path: Path) -> tuple[dict[str, Any], np.ndarray]:
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = nrrd.read_header(file)
            sizes = [int(size) for size in header["sizes"]]
            if len(sizes) == 3:
                check_shape(sizes, path.name)  # before the memory is taken
            data = nrrd.read_data(header, file, str(path))
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(
            f"{path.name} cannot be read: it is cut off, damaged or not an NRRD file; export it again."
        ) from error
    return header, data


def _volume(data: np.ndarray, name: str) -> np.ndarray:
    return data.reshape(check_shape(data.shape, name), order="F")


def _ids(data: np.ndarray, name: str) -> np.ndarray:
    shape = (int(data.shape[0]), int(data.shape[1]), int(data.shape[2]))
    return data if data.dtype == np.uint8 else read_ids(lambda part: data[:, :, part], shape, name)


def _split(header: dict[str, Any], data: np.ndarray) -> list[np.ndarray]:
    """The layers of a segmentation: Slicer puts them on a first axis of kind "list"."""
    kinds = [str(kind) for kind in header.get("kinds", [])]
    if data.ndim == 4 and (not kinds or kinds[0] not in ("domain", "space")):
        return [data[layer] for layer in range(data.shape[0])]
    return [data]


def _affine(header: dict[str, Any], name: str) -> tuple[np.ndarray, list[Finding]]:
    signs = _TO_RAS.get(str(header.get("space", "")).lower())
    rows = header.get("space directions")
    if rows is None or signs is None:
        sizes = [float(size) for size in np.ravel(header.get("spacings", [1.0, 1.0, 1.0]))[-3:]]
        sizes = [abs(size) if np.isfinite(size) and size else 1.0 for size in sizes]
        return check_affine(np.diag([*sizes, 1.0]), name), [missing_affine(name)]
    directions = [np.asarray(row, dtype=float) for row in rows if row is not None]
    directions = [row for row in directions if row.shape == (3,) and np.isfinite(row).all()]
    if len(directions) != 3:
        raise InputError(f"{name} has {len(directions)} space directions and needs 3; export a 3D label map.")
    affine = np.eye(4)
    affine[:3, :3] = np.array(directions).T
    affine[:3, 3] = np.asarray(header.get("space origin", np.zeros(3)), dtype=float)
    return check_affine(np.diag([*signs, 1.0]) @ affine, name), []


def _segments(header: dict[str, Any]) -> list[Segment]:
    """The SegmentN_… fields; files of Slicer before 4.11 have one layer per segment, no LabelValue and no Layer.

    Raises ValueError for a LabelValue or Layer that is no number.
    """
    fields: dict[int, dict[str, str]] = {}
    for key, value in header.items():
        match = _SEGMENT_FIELD.match(key)
        if match:
            fields.setdefault(int(match[1]), {})[match[2]] = str(value)
    segments = []
    for number in sorted(fields):
        entry = fields[number]
        name = entry.get("Name") or entry.get("ID") or f"Segment{number}"
        value, layer = int(entry.get("LabelValue", 1)), int(entry.get("Layer", 0 if "LabelValue" in entry else number))
        segments.append(Segment(name, value, layer, _tags(entry.get("Tags", ""))))
    return segments


def _tags(text: str) -> dict[str, str]:
    """``key:value|key:value|`` as Slicer writes it."""
    pairs = (part.partition(":") for part in text.split("|") if ":" in part)
    return {key.strip(): value.strip() for key, _, value in pairs}
