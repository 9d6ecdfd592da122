"""Bundled cases: real label maps with licence and citation, ready to become a CT."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SynthCTLib.errors import InputError
from SynthCTLib.resources import resource_path


@dataclass(frozen=True)
class Case:
    """One bundled label map; the fields are those of its ``case.json``."""

    id: str
    title: str
    description: str
    region: str
    labels: str
    path: Path
    source: str
    changes: str
    licence: dict[str, str]
    citation: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for the command line."""
        return {**self.__dict__, "path": str(self.path), "citation": list(self.citation)}


def list_cases() -> list[Case]:
    """All bundled cases, in the order of ``Resources/Cases/index.json``."""
    return [_read_case(case_id) for case_id in _index()["cases"]]


def find_case(case_id: str) -> Case:
    """The case with this id. Raises InputError naming the ids that exist."""
    known = _index()["cases"]
    if case_id not in known:
        raise InputError(f"There is no bundled case '{case_id}'; choose one of: {', '.join(known)}.")
    return _read_case(case_id)


def demo_case() -> Case:
    """The case that ``bootstrap.py demo`` uses."""
    return _read_case(_index()["demo"])


def _index() -> dict[str, Any]:
    return json.loads(resource_path("Cases", "index.json").read_text(encoding="utf-8"))


def _read_case(case_id: str) -> Case:
    folder = resource_path("Cases", case_id)
    data = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    return Case(
        id=data["id"],
        title=data["title"],
        description=data["description"],
        region=data["region"],
        labels=data["labels"],
        path=folder / data["file"],
        source=data["source"],
        changes=data["changes"],
        licence=data["licence"],
        citation=tuple(data["citation"]),
    )
