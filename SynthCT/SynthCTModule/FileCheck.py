"""Whether an image file is complete, before Slicer reads it.

Slicer reads a NIfTI file that is cut off as if the rest were zero, and a segmentation that is cut off ends Slicer.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

_CHUNK = 1 << 20
_BYTES = {
    "longlong": 8,
    "ulonglong": 8,
    "uchar": 1,
    "char": 1,
    "short": 2,
    "ushort": 2,
    "int": 4,
    "uint": 4,
    "float": 4,
    "double": 8,
}
_TYPES = {
    **dict.fromkeys(("unsigned char", "uint8", "uint8_t"), "uchar"),
    **dict.fromkeys(("signed char", "int8", "int8_t"), "char"),
    **dict.fromkeys(("short int", "signed short", "int16", "int16_t"), "short"),
    **dict.fromkeys(("unsigned short", "uint16", "uint16_t"), "ushort"),
    **dict.fromkeys(("signed int", "int32", "int32_t"), "int"),
    **dict.fromkeys(("unsigned int", "uint32", "uint32_t"), "uint"),
    **dict.fromkeys(("long long", "long long int", "signed long long", "signed long long int"), "longlong"),
    **dict.fromkeys(("int64", "int64_t"), "longlong"),
    **dict.fromkeys(("unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "ulonglong"),
}


class _Layout(NamedTuple):
    """Where a NIfTI header has its fields: format of struct and position."""

    dim: tuple[str, int]
    bits: tuple[str, int]
    offset: tuple[str, int]
    magic: tuple[str, int]


_NIFTI = {
    348: _Layout(("8h", 40), ("h", 72), ("f", 108), ("3s", 344)),
    540: _Layout(("8q", 16), ("h", 14), ("q", 168), ("3s", 4)),
}
"""By the length of the header, with which it begins: nifti1.h and nifti2.h."""


def isComplete(path: Path) -> bool:
    """False for a NIfTI or NRRD file that is cut off or damaged; files of another kind are left to Slicer."""
    name = path.name.lower()
    try:
        if name.endswith((".nii", ".nii.gz")):
            with gzip.open(path) if name.endswith(".gz") else path.open("rb") as file:
                return _niftiIsComplete(file)
        if name.endswith(".gz"):
            with gzip.open(path) as file:
                _drain(file)
            return True
        if name.endswith(".nrrd"):
            with path.open("rb") as file:
                return _nrrdIsComplete(file)
    except (OSError, EOFError, ValueError, KeyError, struct.error, zlib.error):
        return False
    return path.exists()


def nrrdHeader(file: BinaryIO) -> dict[str, str]:
    """Fields and key/value pairs of an NRRD header; the file then stands at the data. Raises ValueError."""
    if not file.readline().startswith(b"NRRD"):
        raise ValueError("no NRRD file")
    header: dict[str, str] = {}
    for line in iter(file.readline, b""):
        text = line.decode("utf-8", "replace").strip()
        if not text:
            return header
        if not text.startswith("#"):
            key, _separator, value = text.partition(":")
            header[key] = value.lstrip("=").strip()
    raise ValueError("the header does not end")


def _nrrdIsComplete(file: BinaryIO) -> bool:
    header = nrrdHeader(file)
    size = _BYTES.get(_TYPES.get(header["type"], header["type"]))
    if size is None or "data file" in header or "datafile" in header:
        return True
    expected = math.prod(int(size) for size in header["sizes"].split()) * size
    if header["encoding"] in ("gzip", "gz"):
        return _drain(gzip.GzipFile(fileobj=file)) >= expected
    return header["encoding"] != "raw" or _drain(file) >= expected


def _niftiIsComplete(file: BinaryIO | gzip.GzipFile) -> bool:
    begin = file.read(max(_NIFTI))
    for order in "<>":
        layout = _NIFTI.get(struct.unpack_from(f"{order}i", begin)[0])
        if layout is None:
            continue
        dim, (bits,), (offset,), (magic,) = (struct.unpack_from(order + kind, begin, at) for kind, at in layout)
        isPair = magic.startswith(b"ni")  # the data are in another file
        return isPair or len(begin) + _drain(file) >= offset + math.prod(dim[1 : dim[0] + 1]) * bits / 8
    return False


def _drain(file: BinaryIO | gzip.GzipFile) -> int:
    """Read to the end; returns the number of bytes."""
    return sum(len(chunk) for chunk in iter(lambda: file.read(_CHUNK), b""))
