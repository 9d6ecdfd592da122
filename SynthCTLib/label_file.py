"""Label maps as NIfTI files with nothing but NumPy: 3D Slicer's Python has no NiBabel.

Only what SynthCT writes itself is read: a single gzipped NIfTI-1 file of unsigned bytes with three axes and an sform.
For anything else there is :mod:`SynthCTLib.reading`.
"""

from __future__ import annotations

import gzip
import os
import secrets
import struct
import zlib
from pathlib import Path

import numpy as np

from SynthCTLib.errors import InputError, ResourceError

MAX_VOXELS = 512**3
_HEADER, _OFFSET = 348, 352
_UINT8 = 2
_SCANNER, _MILLIMETERS = 1, 2
_DESCRIPTION = b"Synthetic, not a patient, not for clinical use. Label map, MAISI ids"


def read_label_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(uint8 array (X, Y, Z), affine (4, 4) from voxel index to RAS mm) of a ``labels.nii.gz``.

    Raises InputError when the file is missing, damaged, of another kind or larger than 512³ voxels.
    """
    try:
        with gzip.open(path, "rb") as file:
            header = file.read(_OFFSET)
            shape = _shape(header, path)
            affine = np.vstack([np.frombuffer(header, "<f4", 12, 280).reshape(3, 4), [0, 0, 0, 1]]).astype(float)
            data = file.read(shape[0] * shape[1] * shape[2])
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"The label map '{path}' cannot be read ({error}); get the file again.") from error
    if len(data) != np.prod(shape, dtype=int):
        raise InputError(f"The label map '{path}' is cut off; get the file again.")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise InputError(f"The label map '{path}' does not say where it lies; save it again with its geometry.")
    return np.frombuffer(data, np.uint8).reshape(shape, order="F").copy(), affine


def write_label_file(path: Path, labels: np.ndarray, affine: np.ndarray) -> None:
    """Write ids 0-255 (X, Y, Z) with their affine (voxel index → RAS mm); the file appears complete or not at all.

    Raises InputError when the array is no label map, ResourceError when the file cannot be written.
    """
    labels = np.asarray(labels)
    if labels.ndim != 3 or labels.dtype != np.uint8:
        raise InputError(f"A label map has three axes and unsigned bytes, not {labels.ndim} axes of {labels.dtype}.")
    if not 0 < labels.size <= MAX_VOXELS:
        raise InputError(f"A label map of {labels.size} voxels cannot be saved; use 1 to {MAX_VOXELS} voxels.")
    part = path.with_name(f".{path.name}-{secrets.token_hex(4)}.part")
    try:
        with part.open("wb") as raw:
            # Without name and time of writing the same label map gives the same bytes.
            with gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
                file.write(_make_header(labels.shape, np.asarray(affine, float)))
                file.write(labels.tobytes(order="F"))
            raw.flush()
            os.fsync(raw.fileno())
        part.replace(path)
    except OSError as error:
        raise ResourceError(f"'{path}' cannot be written ({error}); choose another place or free space.") from error
    finally:
        part.unlink(missing_ok=True)


def _make_header(shape: tuple[int, ...], affine: np.ndarray) -> bytes:
    header = bytearray(_OFFSET)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    struct.pack_into("<i", header, 0, _HEADER)
    struct.pack_into("<8h", header, 40, 3, *shape, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, _UINT8, 8)
    struct.pack_into("<8f", header, 76, 1, *spacing, 0, 0, 0, 0)
    struct.pack_into("<f2fh2B", header, 108, _OFFSET, 1, 0, 0, 0, _MILLIMETERS)
    struct.pack_into(f"<{len(_DESCRIPTION)}s", header, 148, _DESCRIPTION)
    struct.pack_into("<2h", header, 252, 0, _SCANNER)
    struct.pack_into("<12f", header, 280, *affine[:3].ravel())
    struct.pack_into("<4s", header, 344, b"n+1\0")
    return bytes(header)


def _shape(header: bytes, path: Path) -> tuple[int, int, int]:
    """Size of the array; raises InputError unless the header is of the one kind that is read here."""
    if len(header) < _OFFSET or header[:4] != struct.pack("<i", _HEADER) or header[344:348] != b"n+1\0":
        raise InputError(f"'{path}' is not a gzipped NIfTI-1 file; save the label map as .nii.gz.")
    axes, x, y, z, *more = struct.unpack_from("<8h", header, 40)
    (kind,) = struct.unpack_from("<h", header, 70)
    offset, slope, intercept = struct.unpack_from("<3f", header, 108)
    (sform,) = struct.unpack_from("<h", header, 254)
    flat = axes == 3 or all(size == 1 for size in more[: max(0, axes - 3)])
    if not (3 <= axes <= 7 and flat and min(x, y, z) > 0 and kind == _UINT8 and sform > 0):
        raise InputError(f"'{path}' is no label map of unsigned bytes with three axes and an sform; save it again.")
    scaled = slope not in (0, 1) and not np.isnan(slope)  # 0 and NaN mean: not scaled
    if offset != _OFFSET or scaled or (intercept != 0 and not np.isnan(intercept)):
        raise InputError(f"'{path}' has header extensions or scaled values; save the label map again.")
    if x * y * z > MAX_VOXELS:
        raise InputError(f"'{path}' has {x} × {y} × {z} voxels, too many for a case; use a coarser grid.")
    return x, y, z
