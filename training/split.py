"""Which patients are for training and which for validation: by a hash of the patient, so that it never changes.

All cases of a patient are on one side, a patient stays where it is when others are added, and no file has to keep it.
"""

from __future__ import annotations

import hashlib

from SynthCTLib.errors import InputError


def place(patient: str, seed: int) -> float:
    """A number in [0, 1) that depends on patient and seed only."""
    digest = hashlib.sha256(f"{seed}:{patient}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_patients(patients: set[str], fractions: dict[str, float], seed: int) -> dict[str, str]:
    """Patient → split.

    ``fractions``: share of each split, in any unit, in the order in which they divide [0, 1). A split that got nobody
    takes the nearest patient of a split that has more than one, so that a few patients suffice.

    Raises:
        InputError: fewer patients than splits, or shares that are not positive.
    """
    if not fractions or min(fractions.values()) <= 0:
        raise InputError("The shares of the splits must be positive, for example {'train': 0.8, 'val': 0.2}.")
    if len(patients) < len(fractions):
        raise InputError(
            f"{len(patients)} patients cannot be divided into {' and '.join(fractions)}; add patients, or tell them "
            "apart with a 'patient' pattern."
        )
    total = sum(fractions.values())
    bounds: dict[str, tuple[float, float]] = {}
    start = 0.0
    for name, share in fractions.items():
        bounds[name] = (start, start + share / total)
        start = bounds[name][1]
    places = {patient: place(patient, seed) for patient in sorted(patients)}
    result = {
        patient: next((name for name, (low, high) in bounds.items() if low <= at < high), name_of_last(bounds))
        for patient, at in places.items()
    }
    for name, (low, high) in bounds.items():
        if name in result.values():
            continue
        members = list(result.values())
        spare = [patient for patient, split in result.items() if members.count(split) > 1]
        result[min(spare, key=lambda patient: max(low - places[patient], places[patient] - high))] = name
    return result


def name_of_last(bounds: dict[str, tuple[float, float]]) -> str:
    """The last split, which a place falls into that rounding left beyond the last bound."""
    return list(bounds)[-1]
