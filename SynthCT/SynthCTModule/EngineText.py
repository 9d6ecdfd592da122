"""Sentences of the engine in the language of Slicer.

The engine speaks English, on the command line as here. Its sentences are listed with places for what is filled in
(EngineFindings, EngineErrors): the list tells which one a sentence is and what stands in its places, which are then
filled into the translation. A sentence that is not translated stays English.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from string import Formatter
from typing import Any

from SynthCTModule import EngineErrors, EngineFindings
from SynthCTModule.LabelNames import labelNames
from SynthCTModule.Translation import _

_LISTS = (
    EngineFindings.findingTexts,
    EngineFindings.resultTexts,
    EngineFindings.wordTexts,
    EngineErrors.segmentTexts,
    EngineErrors.teachingTexts,
    EngineErrors.modelTexts,
    EngineErrors.computerTexts,
)


_OWN = {"file", "filename", "folder", "log", "message", "other", "out", "path", "segments", "source", "target", "url"}
"""Places of what is the user's own, as files and segments are: it stays, although a label may be called so."""


def engineText(text: str) -> str:
    """A sentence of the engine, or what stands in one of its places, as users see it."""
    if text in labelNames():
        return labelNames()[text]
    for pattern, translated in _sentences():
        match = pattern.fullmatch(text)
        if match is not None:
            return translated.format(**{place: _filled(match, place) for place in match.groupdict()})
    return text


def findingText(finding: Mapping[str, Any]) -> str:
    """Message and advice of a finding (its fields, or those of its event)."""
    parts = (engineText(str(finding.get(field) or "")) for field in ("message", "advice"))
    return " ".join(part for part in parts if part)


def _filled(match: re.Match[str], place: str) -> str:
    """One value, or several that are listed; what stands in quotes is the user's own and stays, too."""
    words, (start, end) = match[place], match.span(place)
    if place in _OWN:
        return words
    if start and match.string[start - 1] == "'" == match.string[end : end + 1]:
        return words
    return ", ".join("".join(map(engineText, _pair(part))) for part in words.split(", "))


def _pair(words: str) -> list[str]:
    """``one and other`` taken apart, but for a name that has an "and" in it."""
    return [words] if words in labelNames() else re.split("( and )", words)


@cache
def _sentences() -> list[tuple[re.Pattern[str], str]]:
    """What a sentence looks like in English, and its translation; those with most words of their own first."""
    pairs = [
        (english, translated)
        for texts in _LISTS
        for english, translated in zip(texts(str), texts(_), strict=True)
        if english != translated
    ]
    return [(_pattern(english), translated) for english, translated in sorted(pairs, key=lambda pair: -_words(pair[0]))]


def _pattern(template: str) -> re.Pattern[str]:
    parts = [
        re.escape(literal) + (f"(?P<{place}>.*?)" if place else "")
        for literal, place, _format, _conversion in Formatter().parse(template)
    ]
    return re.compile("".join(parts), re.DOTALL)


def _words(template: str) -> int:
    return sum(len(literal) for literal, *_place in Formatter().parse(template))
