"""Whether an image file is complete, before Slicer reads it.

Slicer reads a NIfTI file that is cut off as if the rest were zero, and a segmentation that is cut off ends Slicer.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO

_CHUNK = 1 << 20
_BYTES = {"uchar": 1, "char": 1, "short": 2, "ushort": 2, "int": 4, "uint": 4, "float": 4, "double": 8}
_TYPES = {
    **dict.fromkeys(("unsigned char", "uint8", "uint8_t"), "uchar"),
    **dict.fromkeys(("signed char", "int8", "int8_t"), "char"),
    **dict.fromkeys(("short int", "signed short", "int16", "int16_t"), "short"),
    **dict.fromkeys(("unsigned short", "uint16", "uint16_t"), "ushort"),
    **dict.fromkeys(("signed int", "int32", "int32_t"), "int"),
    **dict.fromkeys(("unsigned int", "uint32", "uint32_t"), "uint"),
}


def isComplete(path: Path) -> bool:
    """False for a NIfTI or NRRD file that is cut off or damaged; files of another kind are left to Slicer."""
    name = path.name.lower()
    try:
        if name.endswith(".gz"):
            with gzip.open(path) as file:
                _drain(file)
            return True
        if name.endswith(".nrrd"):
            with path.open("rb") as file:
                return _nrrdIsComplete(file)
    except (OSError, EOFError, ValueError, KeyError, zlib.error):
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
    expected = (
        math.prod(int(size) for size in header["sizes"].split()) * _BYTES[_TYPES.get(header["type"], header["type"])]
    )
    if "data file" in header or "datafile" in header:
        return True
    if header["encoding"] in ("gzip", "gz"):
        return _drain(gzip.GzipFile(fileobj=file)) >= expected
    return header["encoding"] != "raw" or _drain(file) >= expected


def _drain(file: BinaryIO | gzip.GzipFile) -> int:
    """Read to the end; returns the number of bytes."""
    return sum(len(chunk) for chunk in iter(lambda: file.read(_CHUNK), b""))
