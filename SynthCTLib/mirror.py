"""Mirror a label map about the mid-sagittal plane: the organs change sides (situs inversus), the names stay true.

NumPy only, since it runs in 3D Slicer's own process. Arrays are (X, Y, Z) unsigned bytes, MAISI ids, axes toward right,
anterior, superior.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from SynthCTLib.labels import Vocabulary, load_vocabulary
from SynthCTLib.slabs import blocks, count_ids, memory_order

_MIDDLE_LOBE, _LEFT_UPPER_LOBE = 31, 28


@dataclass(frozen=True)
class MirrorEdit:
    """The mirrored label map, and what could not be named exactly, in sentences."""

    labels: np.ndarray
    notes: tuple[str, ...]


def mirror_left_right(labels: np.ndarray) -> MirrorEdit:
    """Flip a label map about the middle plane of its grid and exchange left and right names.

    The left kidney of the result is the mirrored right one: what lies on the left is called left. Structures without a
    side (liver, heart) keep their name and lie on the other side.
    """
    present = set(np.flatnonzero(count_ids(labels)).tolist())
    notes = []
    for label_id in sorted(present & set(unpaired_ids())):
        name = load_vocabulary().by_id(label_id).display_name
        if label_id == _MIDDLE_LOBE:
            notes.append(f"{name} has no counterpart on the left and was joined to the left upper lobe.")
        else:
            notes.append(f"{name} has no counterpart on the other side; it keeps its name and lies on the other side.")
    return MirrorEdit(_flipped(labels), tuple(notes))


def _flipped(labels: np.ndarray) -> np.ndarray:
    """The flipped map with exchanged names, in the memory order of ``labels``, a few planes at a time."""
    result = np.empty_like(labels)
    order = memory_order(labels)
    source, target = labels[::-1].transpose(order), result.transpose(order)
    for part in blocks(len(source)):
        target[part] = _exchange()[source[part]]
    return result


def other_side(label_id: int, vocabulary: Vocabulary | None = None) -> int | None:
    """Id of the same structure on the other side; None for structures without a side or without a counterpart."""
    vocabulary = vocabulary or load_vocabulary()
    label = vocabulary.by_id(label_id)
    if not label.side:
        return None
    left, right = ("left", "right") if label.side == "left" else ("right", "left")
    wanted = label.name.replace(left, right, 1)
    return next((other.id for other in vocabulary.labels if other.name == wanted and other.id != label_id), None)


def unpaired_ids() -> tuple[int, ...]:
    """Structures that have a side in their name but no counterpart: right middle lobe, left atrial appendage."""
    return tuple(label.id for label in load_vocabulary().labels if label.side and other_side(label.id) is None)


@cache
def _exchange() -> np.ndarray:
    """(256,) uint8: id → id of the other side, else itself."""
    table = np.arange(256, dtype=np.uint8)
    for label in load_vocabulary().labels:
        table[label.id] = other_side(label.id) or label.id
    table[_MIDDLE_LOBE] = _LEFT_UPPER_LOBE
    return table
