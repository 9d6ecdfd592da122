"""Which numbering a label map uses, and the table from its numbers to MAISI ids."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from SynthCTLib.anatomy import label_places, relations, sparse_stride
from SynthCTLib.errors import AmbiguousInputError, InputError
from SynthCTLib.labels import BODY, Vocabulary
from SynthCTLib.volume import Volume

TITLES = {"maisi": "MAISI ids", "totalsegmentator": "TotalSegmentator v2 ids"}

# A numbering is taken as proven when nearly all organs lie as in a body, and the other one puts many of them wrong.
_MIN_RELATIONS, _SHARE_RIGHT, _SHARE_WRONG = 3, 0.95, 0.75


def id_table(scheme: str, vocabulary: Vocabulary) -> dict[int, int]:
    """Stored number → MAISI id of ``maisi`` or ``totalsegmentator``; dummy ids are not in it."""
    labels = [label for label in vocabulary.labels if not label.dummy]
    if scheme == "maisi":
        return {label.id: label.id for label in labels}
    if scheme == "totalsegmentator":
        return {label.totalsegmentator_id: label.id for label in labels if label.totalsegmentator_id is not None}
    raise InputError(
        f"The label scheme '{scheme}' does not exist; choose maisi or totalsegmentator, or give a JSON map."
    )


def detect_scheme(labels: Volume, present: Sequence[int], name: str, vocabulary: Vocabulary) -> tuple[str, str]:
    """(scheme, reason in words) of an integer label map; ``labels`` uint8 or uint16, ``present`` its ids without 0.

    The ids decide when they exist in one numbering only; else the places of the organs do, when they make sense in one
    only. Raises AmbiguousInputError when neither decides and InputError when an id exists in no numbering.
    """
    tables = {scheme: id_table(scheme, vocabulary) for scheme in TITLES}
    unknown = {scheme: [i for i in present if i not in table] for scheme, table in tables.items()}
    possible = [scheme for scheme in TITLES if not unknown[scheme]]
    if not possible:
        closest = min(TITLES, key=lambda scheme: len(unknown[scheme]))
        raise unknown_ids(name, unknown[closest], vocabulary, TITLES[closest])
    if len(possible) == 1:
        other = next(scheme for scheme in TITLES if scheme != possible[0])
        return possible[0], f"{_ids_text(unknown[other])} not among {TITLES[other]}"
    places = label_places(labels, sparse_stride(labels.shape))
    shares: dict[str, float] = {}
    for scheme, table in tables.items():
        found = relations({table[i]: place for i, place in places.items()})
        if len(found) >= _MIN_RELATIONS:
            shares[scheme] = sum(relation.holds for relation in found) / len(found)
    for scheme, other in (("maisi", "totalsegmentator"), ("totalsegmentator", "maisi")):
        if shares.get(scheme, 0.0) >= _SHARE_RIGHT and shares.get(other, 1.0) <= _SHARE_WRONG:
            return scheme, f"read as {TITLES[other]}, organs would lie on the wrong side or in the wrong order"
    raise AmbiguousInputError(
        f"The ids of {name} could be {TITLES['maisi']} or {TITLES['totalsegmentator']}; "
        "say which with the label scheme 'maisi' or 'totalsegmentator'.",
        "labels",
        list(TITLES),
    )


def unknown_ids(name: str, ids: Sequence[int], vocabulary: Vocabulary, title: str) -> InputError:
    """The error for ids that mean nothing; ids that MAISI reserves are called so."""
    dummies = [i for i in ids if title == TITLES["maisi"] and i in vocabulary.ids]
    what = "which MAISI reserves and never uses" if dummies == list(ids) else f"which do not exist among {title}"
    return InputError(
        f"{name} holds {_ids_text(ids)}, {what}; remove them, or give a JSON map that says what each number means, "
        'such as {"5": "liver"}.'
    )


def read_label_map(label_map: Path | str | Mapping[str, Any], vocabulary: Vocabulary) -> dict[str, int]:
    """The user's map, from a JSON file or a dict: number (or segment or file name) as text → MAISI id.

    Values are names or MAISI ids; 0, null and "background" leave a number out. Raises InputError.
    """
    if isinstance(label_map, Mapping):
        data: Any = label_map
    else:
        path = Path(label_map)
        try:
            data = json.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise InputError(f"The label map {path} cannot be read ({error.strerror}); check its path.") from error
        except ValueError as error:
            raise InputError(f"The label map {path.name} is no valid JSON ({error}); correct it.") from error
    if not isinstance(data, Mapping) or not data:
        raise InputError('The label map must be a JSON object such as {"5": "liver", "7": 62}; correct it.')
    return {str(key).strip(): _target(key, value, vocabulary) for key, value in data.items()}


def number_table(names: Mapping[str, int]) -> dict[int, int]:
    """The part of a user's map whose keys are numbers, as a table."""
    return {int(key): value for key, value in names.items() if key.isdecimal()}


def apply_table(array: np.ndarray, table: Mapping[int, int]) -> np.ndarray:
    """Stored numbers → MAISI ids (uint8); numbers without an entry become 0. A uint8 array is changed in place."""
    lookup = np.zeros(int(np.iinfo(array.dtype).max) + 1, dtype=np.uint8)
    for number, label in table.items():
        if number < len(lookup):
            lookup[number] = label
    if array.dtype != np.uint8:
        return lookup[array]
    result = array if array.flags.writeable else np.empty_like(array)
    for plane in range(array.shape[2]):
        result[:, :, plane] = lookup[array[:, :, plane]]
    return result


def _target(key: object, value: object, vocabulary: Vocabulary) -> int:
    if value in (None, 0, "0", "background"):
        return 0
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InputError(f"The label map gives {value!r} for '{key}'; give a label name or a MAISI id.")
    text = str(value)
    label = vocabulary.by_id(int(text)) if text.isdecimal() else vocabulary.find(text)
    if label.dummy:
        raise InputError(
            f"The label map gives id {label.id} for '{key}', which MAISI reserves and never uses; choose another."
        )
    return label.id


def _ids_text(ids: Sequence[int]) -> str:
    shown = ", ".join(str(i) for i in ids[:8]) + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")
    body = " (body)" if list(ids) == [BODY] else ""
    return f"the id {shown}{body}" if len(ids) == 1 else f"the ids {shown}"
