"""What a label map may contain: whole numbers from 0 to 65535 in three dimensions, and a position in space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from SynthCTLib.errors import InputError
from SynthCTLib.findings import Finding
from SynthCTLib.slabs import slabs

LARGEST = 1024**3


@dataclass(frozen=True)
class RawLabels:
    """A label map as stored.

    ``array`` (X, Y, Z) in file order, uint8 or uint16; ``affine`` voxel → RAS mm; ``names`` by id if the file has any.
    """

    array: np.ndarray
    affine: np.ndarray
    names: dict[int, str] | None = None
    notes: list[Finding] = field(default_factory=list)


def check_shape(shape: Sequence[int], name: str) -> tuple[int, int, int]:
    """The three spatial sizes of a file's ``shape``; axes of size 1 behind the third are dropped. Raises InputError."""
    sizes = [int(size) for size in shape]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if len(sizes) != 3:
        advice = (
            "give one 3D label map, not a time series or a stack of channels" if len(sizes) > 3 else "a label map has 3"
        )
        raise InputError(f"{name} has {len(sizes)} dimensions ({' × '.join(map(str, sizes))}); {advice}.")
    if min(sizes) < 1:
        raise InputError(f"{name} has no voxels ({' × '.join(map(str, sizes))}); export the label map again.")
    if sizes[0] * sizes[1] * sizes[2] > LARGEST:
        raise InputError(
            f"{name} has more than 1024³ voxels ({' × '.join(map(str, sizes))}); crop or resample it first."
        )
    return sizes[0], sizes[1], sizes[2]


def check_affine(affine: np.ndarray, name: str) -> np.ndarray:
    """The affine as float64. Raises InputError when it has no inverse or holds no numbers."""
    affine = np.asarray(affine, dtype=np.float64)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or (lengths < 1e-6).any() or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-3:
        raise InputError(f"The orientation stored in {name} is unusable (its axes do not span space); export it again.")
    return affine


def missing_affine(name: str) -> Finding:
    """The finding for a file that does not say how it lies in space."""
    return Finding(
        "warning",
        "missing-orientation",
        f"{name} does not say how it lies in the body: its axes are taken to point right, front and up.",
        "If left and right or head and feet come out swapped, store the orientation in the file.",
    )


def read_ids(read: Callable[[slice], np.ndarray], shape: tuple[int, int, int], name: str) -> np.ndarray:
    """Collect a label map slab by slab: ``read(part)`` gives the voxels [:, :, part] in any number type.

    Returns (X, Y, Z) uint8, or uint16 when an id is above 255. Raises InputError for values that are no ids.
    """
    ids = np.empty(shape, dtype=np.uint8, order="F")
    for part in slabs(shape):
        slab = check_ids(np.asarray(read(part)), name)
        if ids.dtype == np.uint8 and slab.size and slab.max() > 255:
            ids = ids.astype(np.uint16)
        ids[:, :, part] = slab
    return ids


def check_ids(values: np.ndarray, name: str) -> np.ndarray:
    """The same values, proven to be whole numbers from 0 to 65535. Raises InputError that says what they are."""
    if values.dtype.kind not in "biuf":
        raise InputError(f"{name} holds {_kind(values)}, not label numbers; export a label map.")
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise InputError(
                f"{name} holds values that are not numbers (NaN or infinite); replace them by 0 (background)."
            )
        whole = np.rint(values)
        if not np.array_equal(whole, values):
            odd = float(values[whole != values].flat[0])
            raise InputError(
                f"{name} holds values that are not whole numbers (such as {odd:.4g}): this is an image or a "
                "probability map; give a label map, resampled with nearest neighbor if at all."
            )
    if not values.size:
        return values
    low, high = values.min(), values.max()
    if low < 0:
        raise InputError(
            f"{name} holds negative values (down to {low:.0f}), so it looks like a CT image; give a label map."
        )
    if high > 65535:
        raise InputError(f"{name} holds the label number {high:.0f}; label numbers lie between 0 and 65535.")
    return values


def _kind(values: np.ndarray) -> str:
    return "colors" if values.dtype.names else f"values of type {values.dtype}"
