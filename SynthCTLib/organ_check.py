"""Does every organ have a plausible density? Median HU of each structure against its accepted range, in words.

Ranges come from the label table. Like the reference (NV-Generate-CT's quality check) the test is on the median, and the
organ groups (liver, spleen, pancreas, kidney, lung, bone, brain) decide whether a CT passes; unlike it, each label is
judged as well, and the lung group has all five lobes (the reference leaves out the right lower one).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from SynthCTLib.errors import InputError
from SynthCTLib.labels import BACKGROUND, Vocabulary
from SynthCTLib.organ_groups import OrganGroup

Verdict = Literal["ok", "low", "high", "too small", "no range"]
Range = tuple[float, float]

MIN_VOXELS = 20  # a median of fewer voxels says more about partial volume than about the organ

HU_MIN, HU_MAX = -1024, 3071
_HU_BINS = HU_MAX - HU_MIN + 1
_LABELS = 256
_VOXELS_AT_A_TIME = 1 << 22  # bounds the memory of the int64 copy that np.bincount makes


@dataclass(frozen=True)
class OrganResult:
    """One structure or organ group.

    ``id`` is None for a group of several labels, ``group`` the name of the organ group that this is the result of and
    None for single structures; ``median_hu`` is None where there are no voxels.
    """

    id: int | None
    name: str
    voxels: int
    median_hu: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    sentence: str
    group: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values for the report."""
        return asdict(self)


def check_organs(hu: np.ndarray, labels: np.ndarray, vocabulary: Vocabulary) -> list[OrganResult]:
    """Judge every structure that is in the label map.

    Args:
        hu: (X, Y, Z) integer HU; values beyond −1024…3071 count as these limits.
        labels: (X, Y, Z) integer MAISI ids 0-255.
        vocabulary: gives names and ranges.

    Returns:
        The groups of several labels that are present, then one result for each id in ascending order. Those of an organ
        group, of one label (liver) or several (lung), have its name as ``group``.

    Raises:
        InputError: shapes differ, or values are not integers, or an id is beyond 255.
    """
    counts = _histograms(hu, labels)
    present = [int(label_id) for label_id in np.flatnonzero(counts.any(axis=1)) if label_id != BACKGROUND]
    groups = [
        _judge_group(group, counts)
        for group in vocabulary.organ_groups
        if len(group.ids) > 1 and not set(group.ids).isdisjoint(present)
    ]
    return groups + [_judge_label(label_id, counts[label_id], vocabulary) for label_id in present]


def score(results: list[OrganResult]) -> float:
    """Share of the judged organs and groups that are ok, each counting the same; 0 if none was judged."""
    judged = [result for result in results if result.verdict in ("ok", "low", "high")]
    return sum(result.verdict == "ok" for result in judged) / len(judged) if judged else 0.0


def _histograms(hu: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(256, 4096) voxel counts by label and HU, filled slab by slab so that no copy of the volume is made."""
    _require_integers(hu, labels)
    counts = np.zeros(_LABELS * _HU_BINS, dtype=np.int64)
    thickness = max(1, _VOXELS_AT_A_TIME // max(1, hu[0].size)) if hu.size else 1
    for start in range(0, hu.shape[0], thickness):
        slab = slice(start, start + thickness)
        ids = labels[slab].astype(np.int32)
        if ids.size and not 0 <= ids.min() <= ids.max() < _LABELS:
            raise InputError(f"The label map has ids from {ids.min()} to {ids.max()}; convert it to MAISI ids (0-255).")
        ids *= _HU_BINS
        ids += np.clip(hu[slab], HU_MIN, HU_MAX).astype(np.int32) - HU_MIN
        counts += np.bincount(ids.ravel(), minlength=counts.size)
    return counts.reshape(_LABELS, _HU_BINS)


def _require_integers(hu: np.ndarray, labels: np.ndarray) -> None:
    if hu.shape != labels.shape:
        raise InputError(f"CT {hu.shape} and label map {labels.shape} differ in size; resample one to the other.")
    for name, array in (("CT", hu), ("label map", labels)):
        if not np.issubdtype(array.dtype, np.integer):
            raise InputError(f"The {name} has values of type {array.dtype}; convert them to whole numbers first.")


def _judge_label(label_id: int, counts: np.ndarray, vocabulary: Vocabulary) -> OrganResult:
    if label_id not in vocabulary.ids:
        return _judge(label_id, f"Label {label_id}", counts, None)
    label = vocabulary.by_id(label_id)
    alone = (group.name for group in vocabulary.organ_groups if group.ids == (label_id,))
    return _judge(label_id, label.display_name, counts, label.hu_range, next(alone, None))


def _judge_group(group: OrganGroup, counts: np.ndarray) -> OrganResult:
    return _judge(None, group.title, counts[list(group.ids)].sum(axis=0), group.hu_range, group.name)


def _judge(
    label_id: int | None, name: str, counts: np.ndarray, accepted: Range | None, group: str | None = None
) -> OrganResult:
    voxels = int(counts.sum())
    median = _median(counts) if voxels else None
    verdict = _verdict(voxels, median, accepted)
    low, high = accepted or (None, None)
    sentence = _sentence(name, voxels, median, accepted, verdict)
    return OrganResult(label_id, name, voxels, median, low, high, verdict, sentence, group)


def _median(counts: np.ndarray) -> float:
    """Median of the values that a histogram over HU_MIN… stands for; the mean of the two middle ones if even."""
    cumulative = np.cumsum(counts)
    middle = [(int(cumulative[-1]) - 1) // 2, int(cumulative[-1]) // 2]
    return float(np.searchsorted(cumulative, middle, side="right").mean()) + HU_MIN


def _verdict(voxels: int, median: float | None, accepted: Range | None) -> Verdict:
    if accepted is None:
        return "no range"
    if median is None or voxels < MIN_VOXELS:
        return "too small"
    if median < accepted[0]:
        return "low"
    return "high" if median > accepted[1] else "ok"


def _sentence(name: str, voxels: int, median: float | None, accepted: Range | None, verdict: Verdict) -> str:
    if median is None or verdict == "too small":
        return f"{name}: only {voxels} voxel{'s' if voxels != 1 else ''}, too few to judge."
    found = f"{name}: median {median:.0f} HU"
    if accepted is None:
        return f"{found}; no range is known for it, so it was not judged."
    limits = f"{accepted[0]:.0f} to {accepted[1]:.0f} HU"
    if verdict == "ok":
        return f"{found}, within {limits}."
    return f"{found} is too {verdict} (accepted: {limits})."
