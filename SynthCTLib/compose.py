"""Several masks that may overlap → one label map in which each voxel has one label.

A voxel that two structures claim goes to the lesion, else to the structure with fewer voxels: a tumor in the liver, a
cyst in a kidney or a vessel in a lobe then survives. The body envelope always gives way, since it is the rest.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from SynthCTLib.findings import Finding
from SynthCTLib.labels import BODY, Vocabulary
from SynthCTLib.slabs import slabs


class Composer:
    """Collects layers into ``array`` (X, Y, Z) uint8 of MAISI ids and remembers what overlapped."""

    def __init__(self, shape: tuple[int, int, int], vocabulary: Vocabulary) -> None:
        self.array = np.zeros(shape, dtype=np.uint8, order="F")
        self._vocabulary = vocabulary
        self._voxels = np.zeros(256, dtype=np.int64)
        self._clashes = np.zeros((256, 256), dtype=np.int64)

    def add(self, layer: Callable[[slice], np.ndarray]) -> int:
        """Add a layer: ``layer(part)`` gives the ids (uint8) of the voxels [:, :, part]. Returns its labeled voxels."""
        counts = np.zeros(256, dtype=np.int64)
        for part in slabs(self.array.shape):
            counts += np.bincount(layer(part).ravel(order="K"), minlength=256)
        counts[0] = 0
        is_first = not self._voxels.any()
        self._voxels += counts
        if is_first:  # there is nothing yet that it could clash with
            for part in slabs(self.array.shape):
                self.array[:, :, part] = layer(part)
        elif counts.any():
            rank = self._ranks()
            for part in slabs(self.array.shape):
                self._paint(self.array[:, :, part], layer(part), rank)
        return int(counts.sum())

    def overlaps(self) -> list[Finding]:
        """One warning about all overlaps among organs and lesions, or nothing."""
        pairs = [(int(self._clashes[a, b]), a, b) for a, b in np.argwhere(self._clashes)]
        if not pairs:
            return []
        pairs.sort(reverse=True)
        examples = [f"{self._name(new)} and {self._name(old)} ({count})" for count, new, old in pairs[:3]]
        more = f" and {len(pairs) - 3} more pairs" if len(pairs) > 3 else ""
        total = sum(count for count, _, _ in pairs)
        return [
            Finding(
                "warning",
                "overlap",
                f"{total} voxels belong to more than one structure: {', '.join(examples)}{more}.",
                "Each goes to the lesion, else to the smaller structure; correct the masks if that is not meant.",
                labels=tuple(sorted({int(i) for _, a, b in pairs for i in (a, b)})),
            )
        ]

    def _ranks(self) -> np.ndarray:
        """Precedence by id: the higher keeps the voxel. 0 for background, 1 for the body."""
        lesions = {label.id for label in self._vocabulary.lesions()}
        order = sorted(range(1, 256), key=lambda i: (i != BODY, i in lesions, -self._voxels[i], -i))
        rank = np.zeros(256, dtype=np.uint8)
        rank[order] = np.arange(1, 256)
        return rank

    def _paint(self, target: np.ndarray, new: np.ndarray, rank: np.ndarray) -> None:
        wins = rank[new] > rank[target]
        clash = (new != 0) & (target != 0) & (new != target) & (new != BODY) & (target != BODY)
        if clash.any():
            pairs = new[clash].astype(np.int64) * 256 + target[clash]
            self._clashes += np.bincount(pairs, minlength=65536).reshape(256, 256)
        np.copyto(target, new, where=wins)

    def _name(self, label_id: int) -> str:
        return self._vocabulary.by_id(label_id).display_name
