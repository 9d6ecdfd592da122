"""Which label a segment is: by SynthCT's own tag, its terminology and its name, with a sentence where they disagree.

A name is free text, so tag and terminology come first. When these two disagree, one of them was changed on purpose; the
name decides, and if it does not, only the user can.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from SynthCTLib.errors import InputError
from SynthCTLib.findings import Finding
from SynthCTLib.labels import Code, Label, Vocabulary, name_words

ID_TAG = "SynthCT.LabelId"
TERMINOLOGY_TAG = "TerminologyEntry"

Source = Literal["tag", "terminology", "name"]

_UNSPECIFIC = {("SCT", "85756007"), ("SRT", "T-D0050")}
"""Types that say nothing: "Tissue", which Slicer gives to each new segment."""


@dataclass(frozen=True)
class Identity:
    """``label`` and what it was told by, or None and an error; a label may come with a warning.

    ``candidates``: ids that the segment could have been meant to be, the likeliest first; for buttons.
    """

    label: Label | None
    source: Source | None
    finding: Finding | None = None
    candidates: tuple[int, ...] = ()


@dataclass(frozen=True)
class Coded:
    """A terminology entry: ``label`` if SynthCT has it; ``words`` of its meaning; ``specific``: it says something."""

    label: Label | None
    words: tuple[str, ...]
    specific: bool


def identify_segment(name: str, tag: str, terminology: str, vocabulary: Vocabulary) -> Identity:
    """The label of a segment.

    Args:
        name: as shown. tag: value of :data:`ID_TAG`, empty without one. terminology: value of :data:`TERMINOLOGY_TAG`,
        ``context~category~type~modifier~context~region~modifier``, each code ``scheme^value^meaning``; may be empty.
    """
    coded = read_terminology(terminology, vocabulary)
    named = _named(name, vocabulary)
    if tag:
        identity = _tagged(name, tag, coded, named, vocabulary)
    elif coded.label is not None:
        identity = _by_terminology(name, coded.label, named)
    else:
        identity = _by_name(name, coded, named, vocabulary)
    if identity.label is not None and identity.label.dummy:
        text = f"'{name}' carries id {identity.label.id}, which MAISI reserves and never uses."
        return Identity(None, None, _error("unused-label", text, "Choose its label."))
    return identity


def read_terminology(entry: str, vocabulary: Vocabulary) -> Coded:
    """What a terminology entry says. A type without modifier is told apart by its region where that is enough."""
    parts = [*entry.split("~"), *[""] * 7]
    category, type_, modifier, _, region, region_modifier = (_code(part.rstrip("|")) for part in parts[1:7])
    if category is None or type_ is None:
        return Coded(None, (), False)
    label = vocabulary.find_terminology(category, type_, modifier)
    if label is None and modifier is None and region is not None:
        label = vocabulary.find_region(category, type_, region, region_modifier)
    words = name_words(" ".join(code.meaning for code in (type_, modifier) if code))
    return Coded(label, tuple(words), (type_.scheme, type_.value) not in _UNSPECIFIC)


def _tagged(name: str, tag: str, coded: Coded, named: Label | None, vocabulary: Vocabulary) -> Identity:
    try:
        own = vocabulary.by_id(int(tag))
    except (ValueError, InputError):
        text = f"'{name}' carries the label id '{tag}', which does not exist."
        return Identity(None, None, _error("invalid-label-id", text, "Choose its label."), _ids(coded.label, named))
    if coded.label is None and coded.specific and not _mentions(own, coded.words):
        text = (
            f"'{name}' is marked as {own.display_name}, but its terminology was changed to '{' '.join(coded.words)}', "
            "which SynthCT does not know."
        )
        return Identity(None, None, _error("tag-and-terminology", text, "Choose its label."), _ids(own, named))
    if coded.label is None or coded.label.id == own.id:
        return Identity(own, "tag", _renamed(name, own, named), _ids(own, named))
    changed = f"'{name}' was {own.display_name} and now has the terminology of {coded.label.display_name}"
    if named is not None and named.id == coded.label.id:
        text = f"{changed}, as it is named; it is taken as that."
        finding = Finding("warning", "relabeled", text, "Choose its label again if that is wrong.")
        return Identity(coded.label, "terminology", finding, _ids(coded.label, own))
    candidates = _ids(coded.label, own, named)
    return Identity(None, None, _error("tag-and-terminology", f"{changed}.", "Choose which one it is."), candidates)


def _by_terminology(name: str, coded: Label, named: Label | None) -> Identity:
    if named is None or named.id == coded.id:
        return Identity(coded, "terminology")
    text = f"The segment '{name}' has the terminology of {coded.display_name}, and was read as that."
    advice = "Correct its terminology in Slicer if the name is right."
    return Identity(coded, "terminology", Finding("warning", "name-and-terminology", text, advice), _ids(coded, named))


def _by_name(name: str, coded: Coded, named: Label | None, vocabulary: Vocabulary) -> Identity:
    if named is None:
        try:
            vocabulary.find(name)
        except InputError as error:
            suggestions = _ids(*vocabulary.suggestions(name))
            return Identity(None, None, _error("unknown-segment", str(error), ""), suggestions)
    if named is not None and coded.specific and not _mentions(named, coded.words):
        text = f"The segment '{name}' was read by its name, although its terminology says '{' '.join(coded.words)}'."
        finding = Finding("warning", "name-and-terminology", text, "Choose its label if the name is wrong.")
        return Identity(named, "name", finding, _ids(named))
    return Identity(named, "name")


def _renamed(name: str, own: Label, named: Label | None) -> Finding | None:
    if named is None or named.id == own.id:
        return None
    text = f"'{name}' is marked as {own.display_name} and was read as that, although it is named {named.display_name}."
    return Finding("warning", "renamed", text, "Choose its label if the name is right.")


def _mentions(label: Label, words: tuple[str, ...]) -> bool:
    """Whether one of the label's names has all these words: a code of another terminology may mean the same."""
    return any(set(words) <= set(name_words(known)) for known in label.all_names)


def _named(name: str, vocabulary: Vocabulary) -> Label | None:
    try:
        return vocabulary.find(name)
    except InputError:
        return None


def _ids(*labels: Label | None) -> tuple[int, ...]:
    return tuple(dict.fromkeys(label.id for label in labels if label is not None))


def _error(code: str, text: str, advice: str) -> Finding:
    return Finding("error", code, text, advice)


def _code(text: str) -> Code | None:
    scheme, _, rest = text.partition("^")
    value, _, meaning = rest.partition("^")
    return Code(scheme, value, meaning) if scheme and value else None
