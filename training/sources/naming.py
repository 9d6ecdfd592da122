"""Case ids and patients from paths."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePath

from SynthCTLib.errors import InputError

_EVERYDAY_NAMES = {"ct", "image", "img", "volume", "scan"}


def without_suffix(name: str) -> str:
    """A file name without ``.nii``, ``.nii.gz``, ``.seg.nrrd`` or ``.nrrd``."""
    return re.sub(r"(\.nii\.gz|\.nii|\.seg\.nrrd|\.nrrd)$", "", name, flags=re.IGNORECASE)


def case_name(relative: PurePath) -> str:
    """An id from a path below the data folder: letters, digits, ``-`` and ``_``; ``case/ct.nii.gz`` is ``case``."""
    parts = [*relative.parts[:-1], without_suffix(relative.name)]
    if len(parts) > 1 and parts[-1].lower() in _EVERYDAY_NAMES:
        parts.pop()
    return re.sub(r"[^A-Za-z0-9-]+", "_", "_".join(parts)).strip("_") or "case"


def patient_of(text: str, pattern: str | None, otherwise: str) -> str:
    """The first group (else the whole match) of ``pattern`` in ``text``; ``otherwise`` without a pattern.

    Raises InputError where the pattern is no regular expression or does not match: a patient is never guessed.
    """
    if not pattern:
        return otherwise
    try:
        match = re.search(pattern, text)
    except re.error as error:
        raise InputError(f"The patient pattern '{pattern}' is no regular expression ({error}); correct it.") from error
    if match is None:
        raise InputError(f"'{text}' does not fit the patient pattern '{pattern}', so its patient is not known.")
    return match[1] if match.re.groups else match[0]


def pseudonym(text: str) -> str:
    """A short name that stands for an id of the clinic, which must not get into files that are passed on."""
    return "p" + hashlib.sha256(text.encode()).hexdigest()[:10]
