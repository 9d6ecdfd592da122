"""Draw a lesion into a label map: a sphere or an irregular lump of a given size, inside the organ that holds it.

NumPy and SciPy only, since it runs in 3D Slicer's own process. Arrays are (X, Y, Z) unsigned bytes, MAISI ids, axes
toward right, anterior, superior.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from SynthCTLib.crop import Box, corner, label_boxes, widen
from SynthCTLib.errors import InputError
from SynthCTLib.labels import load_vocabulary

Shape = Literal["sphere", "irregular"]

# The surface of an irregular lump lies within about this part of the radius from that of the sphere.
_ROUGHNESS = 0.35
_LEAST_VOXELS = 8
_LEAST_SHARE = 0.5
_GROUP_OF = {23: "lung", 128: "bone"}
"""Lesions that may lie in any organ of a group."""


@dataclass(frozen=True)
class LesionEdit:
    """A label map with a new lesion and what it measures.

    ``box``: outside of it the map is as before. ``diameter_mm``: of a sphere with the volume of the lesion.
    ``center_ras``: RAS mm of its center of mass. ``host``: id of the organ that it lies in.
    """

    labels: np.ndarray
    box: Box
    lesion_id: int
    host: int
    voxels: int
    volume_ml: float
    diameter_mm: float
    center_ras: tuple[float, float, float]


def default_hosts(lesion_id: int) -> tuple[int, ...]:
    """Ids of the organs in which this lesion lies by nature. Raises InputError when the label is no lesion."""
    vocabulary = load_vocabulary()
    label = vocabulary.by_id(lesion_id)
    if not label.lesion:
        names = ", ".join(lesion.display_name for lesion in vocabulary.lesions())
        raise InputError(f"{label.display_name} is no lesion; choose one of: {names}.")
    return (label.host,) if label.host is not None else vocabulary.group_ids(_GROUP_OF[label.id])


def put_lesion(
    labels: np.ndarray,
    affine: np.ndarray,
    lesion_id: int,
    diameter_mm: float,
    *,
    host_ids: Iterable[int] | None = None,
    shape: Shape = "sphere",
    center_ras: Sequence[float] | None = None,
    seed: int = 0,
) -> LesionEdit:
    """Put a lesion into an organ; the input stays as it is.

    Args:
        labels: (X, Y, Z) uint8. affine: (4, 4), voxel index → RAS mm.
        diameter_mm: of the sphere, or of the sphere with the volume of the irregular lump.
        host_ids: organs that it may lie in; None: those of :func:`default_hosts`. Only their voxels are changed.
        center_ras: where, in RAS mm; what would lie outside of the organ is cut off. None: a place, chosen by the seed,
            where a sphere of this size fits into one organ completely.
        seed: decides on the place and the form, where they are free.

    Raises:
        InputError: the organ is absent or too small there, or the lesion would be smaller than the voxels show.
    """
    natural = default_hosts(lesion_id)
    hosts = natural if host_ids is None else tuple(host_ids)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    _check_size(lesion_id, diameter_mm, spacing)
    boxes = {host: box for host, box in label_boxes(labels).items() if host in hosts}
    if not boxes:
        raise InputError(f"{_names(hosts)}: not in the label map; draw it first or choose another lesion or organ.")
    random = np.random.default_rng(seed)
    if center_ras is None:
        center = _free_place(labels, boxes, spacing, diameter_mm, random)
    else:
        center = _index_of(center_ras, affine)
        if not _is_inside(center, labels.shape) or int(labels[center]) not in boxes:
            raise InputError(f"The chosen point is not in {_names(hosts)}; choose a point inside the organ.")
    # One organ only: a lesion at the edge of a lobe or a vertebra does not go on in the next one.
    host = int(labels[center])
    x, y, z = (slice(index, index + 1) for index in center)
    box = widen((x, y, z), labels.shape, spacing, diameter_mm)
    lump = _lump(labels[box] == host, center - corner(box), spacing, diameter_mm, shape, random)
    if lump.sum() * spacing.prod() < _LEAST_SHARE * np.pi / 6 * diameter_mm**3:
        raise InputError(
            f"There is not enough room for {diameter_mm:g} mm at this point of {_names((host,))}; "
            "choose a smaller size or a point farther from the edge."
        )
    result = labels.copy(order="K")
    result[box][lump] = lesion_id
    return _described(result, lump, box, affine, lesion_id, host)


def _check_size(lesion_id: int, diameter_mm: float, spacing: np.ndarray) -> None:
    least = (_LEAST_VOXELS * spacing.prod() * 6 / np.pi) ** (1 / 3)
    if not diameter_mm >= least:
        raise InputError(
            f"{load_vocabulary().by_id(lesion_id).display_name}: {diameter_mm:g} mm is too small for voxels of "
            f"{' × '.join(f'{step:.3g}' for step in spacing)} mm; choose at least {np.ceil(least):.0f} mm."
        )


def _free_place(
    labels: np.ndarray, boxes: Mapping[int, Box], spacing: np.ndarray, diameter_mm: float, random: np.random.Generator
) -> tuple[int, int, int]:
    """A voxel, drawn at random, around which a sphere fits into one of the organs."""
    largest = 0.0
    # Large organs come first more often; most of the time the first one has room, and the others cost nothing.
    sizes = np.array([np.prod([part.stop - part.start for part in box]) for box in boxes.values()], float)
    for host in random.choice(list(boxes), len(boxes), replace=False, p=sizes / sizes.sum()).tolist():
        # The ends of the array are an edge, too: the organ may go on there, but the lesion would be cut.
        padded = np.pad(labels[boxes[host]] == host, 1)
        depth = ndimage.distance_transform_edt(padded, sampling=spacing)[1:-1, 1:-1, 1:-1]
        places = np.argwhere(depth > diameter_mm / 2)
        if len(places):
            x, y, z = places[random.integers(len(places))] + corner(boxes[host])
            return int(x), int(y), int(z)
        largest = max(largest, float(depth.max()))
    raise InputError(
        f"No place in {_names(tuple(boxes))} has room for {diameter_mm:g} mm; "
        f"choose less than {np.ceil(2 * largest):.0f} mm."
    )


def _lump(
    room: np.ndarray,
    center: np.ndarray,
    spacing: np.ndarray,
    diameter_mm: float,
    shape: Shape,
    random: np.random.Generator,
) -> np.ndarray:
    """Voxels of the lesion in its box, all within ``room`` and in one piece that holds the center."""
    axes = [(np.arange(n) - c) * s for n, c, s in zip(room.shape, center, spacing, strict=True)]
    distance = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij", sparse=True)))
    if shape == "sphere":
        lump = room & (distance <= diameter_mm / 2)
    else:
        noise = ndimage.gaussian_filter(random.standard_normal(room.shape), diameter_mm / 5 / spacing)
        distance *= 1 + _ROUGHNESS * noise / max(np.abs(noise).max(), 1e-9)
        wanted = round(np.pi / 6 * diameter_mm**3 / spacing.prod())
        inside = np.sort(distance[room])
        lump = room & (distance <= inside[min(wanted, len(inside)) - 1])
    parts, _ = ndimage.label(lump)
    return parts == parts[tuple(center)]


def _described(
    labels: np.ndarray, lump: np.ndarray, box: Box, affine: np.ndarray, lesion_id: int, host: int
) -> LesionEdit:
    voxels = int(lump.sum())
    volume = voxels * abs(float(np.linalg.det(affine[:3, :3])))
    middle = np.argwhere(lump).mean(axis=0) + corner(box)
    x, y, z = (affine @ [*middle, 1.0])[:3]
    diameter = (6 * volume / np.pi) ** (1 / 3)
    center = (float(x), float(y), float(z))
    return LesionEdit(labels, box, lesion_id, host, voxels, volume / 1000, float(diameter), center)


def _index_of(point: Sequence[float], affine: np.ndarray) -> tuple[int, int, int]:
    x, y, z = np.round((np.linalg.inv(affine) @ [*point, 1.0])[:3]).astype(int)
    return int(x), int(y), int(z)


def _is_inside(index: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return all(0 <= i < n for i, n in zip(index, shape, strict=True))


def _names(ids: Sequence[int], limit: int = 4) -> str:
    vocabulary = load_vocabulary()
    for group in vocabulary.organ_groups:
        if len(ids) > 1 and set(ids) <= set(group.ids):
            return group.title
    more = f" or {len(ids) - limit} others" if len(ids) > limit else ""
    return " or ".join(vocabulary.by_id(i).display_name for i in ids[:limit]) + more
