"""The vocabulary: every label that SynthCT knows, read from one table, ``Resources/labels/synthct-labels.csv``.

Ids and names are those of MAISI (NV-Generate-CT): 132 ids, of which eight are never used, and 200 for the rest of the
body. The "127 classes" in the literature are the 124 used ids (:meth:`Vocabulary.classes_127`) and the three groups of
several labels (:data:`CLASS_GROUPS`: kidney, lung, bone), which have no voxels of their own.
"""

from __future__ import annotations

import csv
import difflib
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from SynthCTLib.errors import InputError
from SynthCTLib.organ_groups import OrganGroup, read_groups
from SynthCTLib.resources import resource_path

BACKGROUND = 0
BODY = 200

CLASS_GROUPS: dict[str, tuple[int, ...]]
"""Ids by name of the groups of several labels; read from the table at the first use, since it may be missing."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> dict[str, tuple[int, ...]]:
        if name == "CLASS_GROUPS":
            return {group.name: group.ids for group in load_vocabulary().organ_groups if len(group.ids) > 1}
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Code:
    """A coded term of a terminology: SNOMED CT (``SCT``) or our own (``99SYNTHCT``)."""

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Terminology:
    """What Slicer stores on a segment. Category, type and modifier together are unique for each label."""

    category: Code
    type: Code
    modifier: Code | None
    region: Code | None
    region_modifier: Code | None

    @property
    def key(self) -> tuple[str, ...]:
        """Schemes and values of category, type and modifier: what terminologies are compared by."""
        return terminology_key(self.category, self.type, self.modifier)


@dataclass(frozen=True)
class Label:
    """One row of the table. ``hu_low`` and ``hu_high`` bound the median HU of the structure in a CT."""

    id: int
    name: str
    display_name: str
    group: str
    side: str
    regions: tuple[str, ...]
    lesion: bool
    dummy: bool
    color: Rgb
    hu_low: float | None
    hu_high: float | None
    hu_typical: float | None
    totalsegmentator_id: int | None
    totalsegmentator_name: str | None
    aliases: tuple[str, ...]
    terminology: Terminology
    host: int | None
    """For a lesion with a fixed surrounding organ: the id that takes its place when it is taken out."""
    region_marker: str
    """The body region whose presence in an image this label proves; empty for labels that prove none."""
    organ_group: str
    """The group with which the density of this label is judged (``bone``); empty for labels outside of them."""

    @property
    def hu_range(self) -> tuple[float, float] | None:
        """Accepted range of the median HU, or None where none is known."""
        return None if self.hu_low is None or self.hu_high is None else (self.hu_low, self.hu_high)

    @property
    def all_names(self) -> tuple[str, ...]:
        """Everything this label may be called: name, display name, TotalSegmentator name, aliases."""
        names = (self.name, self.display_name, self.totalsegmentator_name or "", *self.aliases)
        return tuple(dict.fromkeys(name for name in names if name))


class Vocabulary:
    """All labels and organ groups, with lookups by id, name, prefix, group and terminology."""

    def __init__(self, labels: tuple[Label, ...], organ_groups: tuple[OrganGroup, ...]) -> None:
        self.labels = labels
        self.organ_groups = organ_groups
        self._by_id = {label.id: label for label in labels}

    @property
    def ids(self) -> tuple[int, ...]:
        """All ids in ascending order, unused ones and the body included, background (0) not."""
        return tuple(self._by_id)

    def by_id(self, label_id: int) -> Label:
        """The label with this id. Raises InputError when there is none."""
        try:
            return self._by_id[int(label_id)]
        except KeyError:
            last = max(known for known in self._by_id if known != BODY)
            raise InputError(f"Label id {label_id} does not exist; use 1-{last} or {BODY} (body).") from None

    def find(self, text: str) -> Label:
        """The label called ``text``: MAISI name, display name, alias or TotalSegmentator name.

        Case, blanks, underscores, punctuation and the order of words do not matter. Raises InputError that names the
        labels meant when the text fits several ("left lung"), else those spelled most like it.
        """
        for key in _keys(text):
            if key in self._by_key:
                return self._by_key[key]
        candidates = self._containing_words(text)
        if len(candidates) > 1:
            raise InputError(f"'{text}' stands for several labels; choose among: {_enumerate(candidates)}.")
        nearest = self.suggestions(text)
        advice = f"did you mean: {_enumerate(nearest)}?" if nearest else "look the names up with 'synthct labels'."
        raise InputError(f"'{text}' is not a label that SynthCT knows; {advice}")

    def suggestions(self, text: str) -> list[Label]:
        """Labels that an unknown name may mean: those with all its words in a name, else those spelled most like it."""
        return self._containing_words(text) or self._spelled_like(text)

    def search(self, prefix: str) -> list[Label]:
        """Labels whose names have, for each word of ``prefix``, a word that starts with it; best matches first.

        Labels that start with the first word come before others, own names before aliases. An empty prefix gives all.
        """
        wanted = name_words(prefix)
        ranked = []
        for label in self.labels:
            own = _best_rank(wanted, (label.name, label.display_name))
            rank = own if own is not None else _best_rank(wanted, label.all_names, worse_by=2)
            if rank is not None and not label.dummy:
                ranked.append((rank, label))
        return [label for _, label in sorted(ranked, key=lambda entry: (entry[0], entry[1].id))]

    def group_ids(self, group: str) -> tuple[int, ...]:
        """Ids of an organ group in ascending order: ``bone``, ``lung`` (the lobes), ``kidney``, ``liver`` …

        Raises InputError, which names the groups, when there is none of this name.
        """
        for known in self.organ_groups:
            if known.name == group:
                return known.ids
        names = ", ".join(known.name for known in self.organ_groups)
        raise InputError(f"There is no organ group '{group}'; use one of {names}.")

    def find_terminology(self, category: Code, type_: Code, modifier: Code | None) -> Label | None:
        """The label with these codes (meanings are not compared), or None."""
        return self._by_terminology.get(terminology_key(category, type_, modifier))

    def find_region(self, category: Code, type_: Code, region: Code, modifier: Code | None) -> Label | None:
        """The only label with this category and type in this region (a cyst of the left kidney), or None.

        For terminologies that say the side with the region, where the table says it with the type too.
        """
        found = [
            label
            for label in self.labels
            if (terms := label.terminology).region is not None
            and terminology_key(terms.category, terms.type, terms.region) == terminology_key(category, type_, region)
            and (terms.region_modifier and terms.region_modifier.value) == (modifier and modifier.value)
        ]
        return found[0] if len(found) == 1 else None

    def classes_127(self) -> tuple[Label, ...]:
        """The labels among the "127 classes": all but the unused ids and the body, that is 124.

        The three classes missing to 127 (kidney, lung, bone) are unions of these: :data:`CLASS_GROUPS`.
        """
        return tuple(label for label in self.labels if not label.dummy and label.id != BODY)

    def lesions(self) -> tuple[Label, ...]:
        """Tumors and cysts."""
        return tuple(label for label in self.labels if label.lesion)

    def replacements(self) -> dict[str, int]:
        """Lesion id (decimal text, as in JSON) → id of the organ around it, for lesions that have a fixed one.

        A lung tumor may lie in any lobe and a bone lesion in any bone, so they are not in it.
        """
        return {str(label.id): label.host for label in self.labels if label.host is not None}

    @cached_property
    def _by_key(self) -> dict[str, Label]:
        return {key: label for label in self.labels for name in label.all_names for key in _keys(name)}

    @cached_property
    def _by_terminology(self) -> dict[tuple[str, ...], Label]:
        return {label.terminology.key: label for label in self.labels}

    def _containing_words(self, text: str) -> list[Label]:
        wanted = set(name_words(text))
        if not wanted:
            return []
        return [
            label
            for label in self.labels
            if not label.dummy and any(wanted <= set(name_words(name)) for name in label.all_names)
        ]

    def _spelled_like(self, text: str, count: int = 3) -> list[Label]:
        """Up to ``count`` labels in the order of similarity of their best name."""
        similar = difflib.get_close_matches("".join(name_words(text)), list(self._by_key), n=5 * count, cutoff=0.6)
        labels = dict.fromkeys(self._by_key[key] for key in similar if not self._by_key[key].dummy)
        return list(labels)[:count]


def terminology_key(category: Code, type_: Code, modifier: Code | None) -> tuple[str, ...]:
    """Schemes and values of the three codes that tell labels apart."""
    codes = (category, type_, *((modifier,) if modifier else ()))
    return tuple(part for code in codes for part in (code.scheme, code.value))


@lru_cache(maxsize=1)
def load_vocabulary() -> Vocabulary:
    """The vocabulary of the shipped table (read once per process)."""
    return read_vocabulary(resource_path("labels", "synthct-labels.csv"))


def read_vocabulary(path: Path) -> Vocabulary:
    """Read a label table and ``groups.json`` beside it. Columns: see ``Resources/labels/README.md``."""
    with path.open(newline="", encoding="utf-8") as handle:
        labels = tuple(_label(row) for row in csv.DictReader(handle))
    return Vocabulary(labels, read_groups(path.with_name("groups.json"), labels))


def _label(row: dict[str, str]) -> Label:
    return Label(
        id=int(row["LabelValue"]),
        name=row["Name"],
        display_name=row["DisplayName"],
        group=row["Group"],
        side=row["Side"],
        regions=_parts(row["Regions"]),
        lesion=row["Lesion"] == "1",
        dummy=row["Dummy"] == "1",
        color=(int(row["Color_R"]), int(row["Color_G"]), int(row["Color_B"])),
        hu_low=_number(row["HuLow"]),
        hu_high=_number(row["HuHigh"]),
        hu_typical=_number(row["HuTypical"]),
        totalsegmentator_id=int(row["TotalSegmentatorId"]) if row["TotalSegmentatorId"] else None,
        totalsegmentator_name=row["TotalSegmentatorName"] or None,
        aliases=_parts(row["Aliases"]),
        terminology=_terminology(row),
        host=int(row["Host"]) if row["Host"] else None,
        region_marker=row["RegionMarker"],
        organ_group=row["OrganGroup"],
    )


def _terminology(row: dict[str, str]) -> Terminology:
    category, type_ = _code(row, "Category"), _code(row, "Type")
    if category is None or type_ is None:
        raise InputError(f"Label {row['LabelValue']} has no category or type code; complete its row.")
    return Terminology(category, type_, _code(row, "TypeModifier"), _code(row, "Region"), _code(row, "RegionModifier"))


def _code(row: dict[str, str], column: str) -> Code | None:
    scheme, value, meaning = (row[f"{column}_{part}"] for part in ("CodingScheme", "CodeValue", "CodeMeaning"))
    return Code(scheme, value, meaning) if value else None


def _parts(text: str) -> tuple[str, ...]:
    return tuple(text.split("|")) if text else ()


def _number(text: str) -> float | None:
    return float(text) if text else None


def name_words(text: str) -> list[str]:
    """The words of a name in small letters, without punctuation."""
    return re.findall(r"[a-z0-9]+", text.lower())


def _keys(text: str) -> tuple[str, str]:
    """Two spellings that ignore what users vary: written together, and with the words in alphabetical order."""
    words = name_words(text)
    return "".join(words), " ".join(sorted(words))


def _best_rank(wanted: list[str], names: tuple[str, ...], worse_by: int = 0) -> int | None:
    """0: a name starts with the wanted words, 1: other words of it do, None: no name matches; plus ``worse_by``."""
    ranks = []
    for words in map(name_words, names):
        if all(any(word.startswith(prefix) for word in words) for prefix in wanted):
            ranks.append(0 if " ".join(words).startswith(" ".join(wanted)) else 1)
    return min(ranks) + worse_by if ranks else None


def _enumerate(labels: list[Label], limit: int = 6) -> str:
    names = [label.display_name for label in labels[:limit]]
    more = len(labels) - limit
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")
