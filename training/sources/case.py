"""What every source gives: cases that can be read one at a time, and things that are no case, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from SynthCTLib.findings import Finding
from SynthCTLib.volume import Volume


@dataclass(frozen=True)
class Reading:
    """One case as its files say it.

    ``image``: HU (X, Y, Z), any axes. ``labels``: uint8 ids of the vocabulary, ``extra``: uint8 ids of structures that
    have none; both on any grid, 0 where nothing was drawn. ``notes``: what was noticed while reading.
    """

    image: Volume
    labels: Volume | None = None
    extra: Volume | None = None
    notes: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class Case:
    """A case before it is read.

    ``patient`` decides the split; ``identified``: it is an id of headers, of a manifest or of the config's pattern, not
    just the name of a file, so that it is the same person in every source. ``files`` tell whether the case has changed
    since it was prepared; ``read`` raises InputError. ``split``: given by the data set, else None. ``trusted``: checked
    by hand, so that a failed check is listed and does not leave the case out. ``facts``: further entries for
    ``cases.json``.
    """

    case_id: str
    patient: str
    files: tuple[Path, ...]
    read: Callable[[], Reading]
    split: str | None = None
    region: tuple[str, ...] = ()
    trusted: bool = False
    identified: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LeftOut:
    """Something that is no usable case: its id or path, and a sentence that says why."""

    case_id: str
    reason: str


Found: TypeAlias = Iterator[Case | LeftOut]
