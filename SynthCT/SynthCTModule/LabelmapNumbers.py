"""What the numbers of a label map volume are: MAISI ids, by its color table, by the user's word or by anatomy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from SynthCTModule.LabelColors import namesLabels, vocabulary
from SynthCTModule.SegmentLabels import ResolvedSegment, UnknownSegments, resolveColors
from SynthCTModule.Translation import _
from SynthCTModule.VoxelGrid import Grid, arrayFromImage, valueCounts, volumeGrid


@dataclass(frozen=True)
class LabelmapNumbers:
    """The voxels of a label map node, ``array`` (X, Y, Z) on ``grid``.

    ``scheme``: ``maisi`` where the color table tells what they are, else None and the numbers are as in the node.
    ``labels``: what the color table said about each number.
    """

    array: np.ndarray
    grid: Grid
    scheme: str | None
    labels: tuple[ResolvedSegment, ...] = ()


def labelmapNumbers(node: Any) -> LabelmapNumbers:
    """The voxels of a vtkMRMLLabelMapVolumeNode, in MAISI ids as far as its color table says what they are.

    Names and terminologies of a color table count, but for Slicer's own ones, which have nothing to do with the
    numbers. Raises UnknownSegments for a name that is no label, ValueError without voxels.
    """
    grid = volumeGrid(node)
    array = np.asarray(arrayFromImage(node.GetImageData()))
    present = list(valueCounts(array))
    if not present:
        raise ValueError(_("The label map '{name}' has no labels.").format(name=node.GetName()))
    display = node.GetDisplayNode()
    colors = display.GetColorNode() if display else None
    if not namesLabels(colors):
        return LabelmapNumbers(array, grid, None)
    labels = resolveColors(colors, present)
    return LabelmapNumbers(_renumbered(array, labels), grid, "maisi", tuple(labels))


def labelmapIds(node: Any, labelScheme: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """MAISI ids (X, Y, Z) uint8 and affine (voxel → RAS mm) of a vtkMRMLLabelMapVolumeNode, as a run reads them.

    labelScheme: ``maisi`` or ``totalsegmentator``, for numbers that the color table does not explain; empty: proven by
    the numbers and the places of the organs.

    Raises UnknownSegments, AmbiguousInputError (more than one meaning is possible), InputError (a number is no label),
    ValueError (no voxels).
    """
    numbers = labelmapNumbers(node)
    from SynthCTLib.reading_values import check_ids
    from SynthCTLib.schemes import TITLES, apply_table, detect_scheme, id_table, unknown_ids
    from SynthCTLib.volume import Volume

    name, labels = f"'{node.GetName()}'", vocabulary()
    array = check_ids(numbers.array, name)
    array = array.astype(np.uint8 if array.max() <= np.iinfo(np.uint8).max else np.uint16)
    present = list(valueCounts(array))
    scheme = numbers.scheme or labelScheme
    if not scheme:
        scheme, _reason = detect_scheme(Volume(array, numbers.grid.affine), present, name, labels)
    table = id_table(scheme, labels)
    unknown = [number for number in present if number not in table]
    if unknown:
        raise unknown_ids(name, unknown, labels, TITLES[scheme])
    return apply_table(array, table), numbers.grid.affine


def _renumbered(array: np.ndarray, labels: list[ResolvedSegment]) -> np.ndarray:
    unknown = [label for label in labels if label.labelId is None]
    if unknown:
        raise UnknownSegments(unknown)
    ids = np.zeros(array.shape, np.uint8, order="F")
    for label in labels:
        ids[array == int(label.segmentId)] = label.labelId or 0
    return ids
