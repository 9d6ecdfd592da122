"""Who is in which fold, and who belongs to a share of the training patients: by rank of a hash.

The same patients and seed give the same folds and shares, in whatever order they come; one patient more or less can
move the others.
"""

from __future__ import annotations

from collections.abc import Sequence

from training.downstream.cases import LabeledVolume
from training.split import place


def assign_folds(cases: Sequence[LabeledVolume], folds: int, seed: int) -> dict[str, int]:
    """Patient → test fold, all folds equally large and with equal parts of each split of the data (± 1)."""
    splits = {case.patient: case.split for case in cases}
    order = sorted(splits, key=lambda patient: (splits[patient], place(patient, seed)))
    return {patient: number % folds for number, patient in enumerate(order)}


def share_of(patients: Sequence[str], share: float, seed: int) -> set[str]:
    """``share`` (0 … 1] of the patients, at least one; a smaller share of the same seed is a part of a larger one."""
    order = sorted(patients, key=lambda patient: place(patient, seed))
    return set(order[: max(1, round(share * len(order)))])
