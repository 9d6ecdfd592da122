"""NIfTI files as SynthCT's engine writes them, read with NumPy alone, so that a thread may do it.

Slicer's reader keeps the window waiting, and takes a file that is cut off as if the rest were zero.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

_HEADER = 352
_READ, _PIECE = 1 << 20, 1 << 22
"""Bytes that are read, and at most given out, at a time: while they are worked on, other threads may run."""
_TYPES = {2: "u1", 4: "<i2", 8: "<i4", 16: "<f4", 64: "<f8", 256: "i1", 512: "<u2"}
_MILLIMETERS, _UNIT_BITS = 2, 7


class _Header(NamedTuple):
    shape: tuple[int, int, int]
    type: str
    offset: int
    affine: np.ndarray


def readNifti(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Voxels (X, Y, Z), X fastest, and affine (4, 4; voxel → RAS mm) of a NIfTI-1 file, as Slicer reads them.

    None for a file that says something else than the engine's: other types, scaled values, more than one volume, no
    sform in millimeters. Raises EOFError or zlib.error for a file that is cut off or damaged, OSError when it cannot be
    opened.
    """
    pieces = _pieces(path)
    begin = next(pieces, b"")
    if len(begin) < _HEADER:
        raise EOFError(path.name)
    header = _header(begin)
    if header is None:
        return None
    data = np.empty(math.prod(header.shape) * np.dtype(header.type).itemsize, np.uint8)
    at = -header.offset  # where the next piece belongs in the data
    for piece in chain((begin,), pieces):
        part = np.frombuffer(piece, np.uint8)[max(0, -at) : max(0, len(data) - at)]
        data[max(0, at) : max(0, at) + len(part)] = part
        at += len(piece)
    if at < len(data):
        raise EOFError(path.name)
    return _rightHanded(data.view(header.type).reshape(header.shape, order="F"), header.affine)


def _rightHanded(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As Slicer wants its volumes: where the axes are left-handed, the last one goes the other way."""
    if np.linalg.det(affine[:3, :3]) > 0:
        return array, affine
    turned = affine.copy()
    turned[:3, 2] *= -1
    turned[:3, 3] += affine[:3, 2] * (array.shape[2] - 1)
    return np.asfortranarray(array[:, :, ::-1]), turned


def _pieces(path: Path) -> Iterator[bytes]:
    """The content of a file, unpacked where its name ends in .gz; its checksum is looked at in the end."""
    content = path.read_bytes()  # at once: Windows removes no folder with a file that is open
    if not path.name.lower().endswith(".gz"):
        yield from (content[at : at + _PIECE] for at in range(0, len(content), _PIECE))
        return
    unpacker = zlib.decompressobj(wbits=31)  # with gzip's header and checksum
    for at in range(0, len(content), _READ):
        packed = content[at : at + _READ]
        while packed and not unpacker.eof:
            yield unpacker.decompress(packed, _PIECE)
            packed = unpacker.unconsumed_tail
    yield unpacker.flush()
    if not unpacker.eof:
        raise EOFError(path.name)


def _header(begin: bytes) -> _Header | None:
    """Fields of nifti1.h; None for what this reader leaves to others."""
    size, *_rest = struct.unpack_from("<i", begin)
    count, x, y, z, *more = struct.unpack_from("<8h", begin, 40)
    (kind,) = struct.unpack_from("<h", begin, 70)
    offset, slope, shift = struct.unpack_from("<3f", begin, 108)
    (sform,) = struct.unpack_from("<h", begin, 254)
    plain = size == 348 and begin[344:348] == b"n+1\0" and kind in _TYPES and slope in (0, 1) and shift == 0
    one = min(x, y, z) > 0 and (count == 3 or (count > 3 and set(more[: count - 3]) == {1}))
    if not (plain and one and sform > 0 and begin[123] & _UNIT_BITS == _MILLIMETERS):
        return None
    rows = np.array(struct.unpack_from("<12f", begin, 280), float).reshape(3, 4)
    return _Header((x, y, z), _TYPES[kind], int(offset), np.vstack([rows, [0.0, 0.0, 0.0, 1.0]]))
