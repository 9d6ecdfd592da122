"""Where organs are in every body: left and right, above and below. Tells label schemes apart and finds flipped maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np

from SynthCTLib.labels import Vocabulary, load_vocabulary
from SynthCTLib.slabs import id_profiles
from SynthCTLib.volume import Volume

# Organs without a side in their name that lie on one in (nearly) everybody.
_UNPAIRED_SIDES = {"liver": "right", "gallbladder": "right", "spleen": "left", "stomach": "left"}

# Height along the spine, counted in vertebrae (C1 = 1, T1 = 8, L1 = 20); sources: any atlas, e.g. Gray's Anatomy.
_SPINE = [*(f"C{n}" for n in range(1, 8)), *(f"T{n}" for n in range(1, 13)), *(f"L{n}" for n in range(1, 6))]
_LEVELS = {
    "brain": -4,
    "thyroid gland": 7,
    "heart": 15,
    "liver": 18,
    "spleen": 18,
    "right kidney": 21,
    "left kidney": 21,
    "sacrum": 27,
    "bladder": 29,
    "prostate": 30,
    "left femur": 32,
    "right femur": 32,
    **{f"vertebrae {name}": number for number, name in enumerate(_SPINE, start=1)},
}
# Vertebrae and sacrum follow one another strictly; soft organs only where they lie this far apart.
_SOFT_DISTANCE = 6


@dataclass(frozen=True)
class LabelPlace:
    """``voxels`` of a label, its ``centroid`` (RAS mm), and ``low``/``high``: first and last index on each axis."""

    voxels: int
    centroid: tuple[float, float, float]
    low: tuple[int, int, int]
    high: tuple[int, int, int]


@dataclass(frozen=True)
class Relation:
    """Two labels on the left-right or the head-foot axis, and whether they lie as they should."""

    kind: str
    first: int
    second: int
    holds: bool


def label_places(labels: Volume, stride: tuple[int, int, int] = (1, 1, 1)) -> dict[int, LabelPlace]:
    """Size and place of each label (ids 1-255) of a volume; with a ``stride`` > 1 only every n-th voxel counts."""
    array = labels.array[tuple(slice(None, None, step) for step in stride)]
    profiles = id_profiles(array)
    voxels = profiles[0].sum(axis=0)
    places = {}
    for label in np.flatnonzero(voxels):
        if label == 0:
            continue
        used = [np.flatnonzero(profile[:, label]) * step for profile, step in zip(profiles, stride, strict=True)]
        center = [
            float(profile[:, label] @ np.arange(len(profile)) / voxels[label] * step)
            for profile, step in zip(profiles, stride, strict=True)
        ]
        x, y, z = (labels.affine @ [*center, 1.0])[:3]
        low, high = (int(u[0]) for u in used), (int(u[-1]) for u in used)
        places[int(label)] = LabelPlace(int(voxels[label]), (float(x), float(y), float(z)), tuple(low), tuple(high))  # type: ignore[arg-type]
    return places


def sparse_stride(shape: tuple[int, int, int], voxels: float = 4e6) -> tuple[int, int, int]:
    """The stride that leaves about ``voxels`` voxels of a volume: enough to tell where organs are."""
    step = max(1, round((shape[0] * shape[1] * shape[2] / voxels) ** (1 / 3)))
    return min(step, shape[0]), min(step, shape[1]), min(step, shape[2])


def side_of(label_id: int, vocabulary: Vocabulary | None = None) -> str:
    """ "left", "right" or "": the side of the body on which the label's center lies."""
    label = (vocabulary or load_vocabulary()).by_id(label_id)
    return label.side or _UNPAIRED_SIDES.get(label.name, "")


def relations(places: Mapping[int, LabelPlace]) -> list[Relation]:
    """All pairs of ``places`` that have a known order: left of right, and above one another."""
    return [*_side_relations(places), *_height_relations(places)]


def _side_relations(places: Mapping[int, LabelPlace]) -> list[Relation]:
    left = [label for label in places if side_of(label) == "left"]
    right = [label for label in places if side_of(label) == "right"]
    x = {label: place.centroid[0] for label, place in places.items()}
    return [Relation("side", a, b, x[a] < x[b]) for a in left for b in right]


def _height_relations(places: Mapping[int, LabelPlace]) -> list[Relation]:
    levels, strict = _levels()
    found = []
    for a, b in combinations(sorted((label for label in places if label in levels), key=lambda i: (levels[i], i)), 2):
        apart = levels[b] - levels[a]
        if apart >= (1 if a in strict and b in strict else _SOFT_DISTANCE):
            found.append(Relation("height", a, b, places[a].centroid[2] > places[b].centroid[2]))
    return found


@lru_cache(maxsize=1)
def _levels() -> tuple[dict[int, int], frozenset[int]]:
    """Level by id, and the ids that follow one another strictly."""
    vocabulary = load_vocabulary()
    ids = {vocabulary.find(name).id: (name, level) for name, level in _LEVELS.items()}
    strict = frozenset(i for i, (name, _) in ids.items() if name.startswith("vertebrae") or name == "sacrum")
    return {i: level for i, (_, level) in ids.items()}, strict
