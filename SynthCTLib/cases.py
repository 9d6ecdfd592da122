"""Cases: real label maps with licence, citation, learning goals and questions; one folder each (docs/cases.md).

Standard library only, since 3D Slicer's own process reads them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from SynthCTLib.errors import InputError
from SynthCTLib.resources import resource_path
from SynthCTLib.schema_check import schema_problem

SCHEMA = 1
CASE_FILE, LABELS_FILE, CT_FILE = "case.json", "labels.nii.gz", "ct.nii.gz"


@dataclass(frozen=True)
class Pair:
    """What a case with a drawn lesion belongs to: ``healthy`` is the id of the same anatomy without it."""

    healthy: str
    lesion: int


@dataclass(frozen=True)
class Case:
    """One label map and what is taught on it; the fields are those of its ``case.json``.

    ``path`` and ``ct``: the label map and a CT that belongs to it, if there is one. ``view``, ``settings`` and
    ``questions`` are plain values as ``Resources/schemas/case.schema.json`` says.
    """

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
    learning_goals: tuple[str, ...] = ()
    clinical_text: str = ""
    view: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    questions: tuple[dict[str, Any], ...] = ()
    pair: Pair | None = None
    ct: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values for the command line."""
        data = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        data |= {name: list(data[name]) for name in ("citation", "learning_goals", "questions")}
        pair = None if self.pair is None else {"healthy": self.pair.healthy, "lesion": self.pair.lesion}
        return {**data, "path": str(self.path), "ct": None if self.ct is None else str(self.ct), "pair": pair}


def list_cases() -> list[Case]:
    """All bundled cases, in the order of ``Resources/Cases/index.json``."""
    return [_bundled(case_id) for case_id in _index()["cases"]]


def bundled_titles() -> dict[Path, str]:
    """Titles of the bundled cases by their label map, in their order; quick, since nothing is checked."""
    folders = [resource_path("Cases", case_id) for case_id in _index()["cases"]]
    return {
        folder / LABELS_FILE: json.loads((folder / CASE_FILE).read_text(encoding="utf-8"))["title"]
        for folder in folders
    }


def find_case(case_id: str) -> Case:
    """The bundled case with this id. Raises InputError naming the ids that exist."""
    known = _index()["cases"]
    if case_id not in known:
        raise InputError(f"There is no bundled case '{case_id}'; choose one of: {', '.join(known)}.")
    return _bundled(case_id)


def demo_case() -> Case:
    """The case that ``bootstrap.py demo`` uses."""
    return _bundled(_index()["demo"])


def cases_in(folder: Path) -> tuple[list[Case], list[str]]:
    """A user's own cases: those in the subfolders of ``folder`` by id, and a sentence for each that cannot be used."""
    cases, problems = [], []
    for path in sorted(Path(folder).glob(f"*/{CASE_FILE}")):
        if path.parent.name.startswith("."):  # a case that is being written
            continue
        try:
            cases.append(read_case(path.parent))
        except InputError as error:
            problems.append(str(error))
    return cases, problems


def read_case(folder: Path) -> Case:
    """The case of a folder with ``case.json`` and ``labels.nii.gz``. Raises InputError for what is wrong with it."""
    path = Path(folder) / CASE_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"'{path}' cannot be read ({error.strerror}); choose the folder of a case.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"'{path}' is not valid JSON; correct it or get the case again.") from error
    case = case_from_json(data, Path(folder))
    for file in (case.path, case.ct):
        if file is not None and not file.is_file():
            raise InputError(f"The case '{case.id}' is incomplete: '{file.name}' is missing; get the case again.")
    return case


def case_from_json(data: Any, folder: Path) -> Case:
    """A case from the values of its ``case.json``. Raises InputError that names the field which breaks the schema."""
    problem = schema_problem(data, case_schema())
    if problem:
        raise InputError(f"The case in '{folder}' cannot be used: {problem} See docs/cases.md for the format.")
    values: Mapping[str, Any] = data
    pair = values.get("pair")
    return Case(
        id=values["id"],
        title=values["title"],
        description=values["description"],
        region=values["region"],
        labels=values["labels"],
        path=folder / values["file"],
        source=values["source"],
        changes=values["changes"],
        licence=values["licence"],
        citation=tuple(values["citation"]),
        learning_goals=tuple(values["learning_goals"]),
        clinical_text=values["clinical_text"],
        view=values["view"],
        settings=values["settings"],
        questions=tuple(values["questions"]),
        pair=None if pair is None else Pair(pair["healthy"], int(pair["lesion"])),
        ct=folder / values["ct"] if "ct" in values else None,
    )


@cache
def case_schema() -> dict[str, Any]:
    """The JSON schema of ``case.json``."""
    return json.loads(resource_path("schemas", "case.schema.json").read_text(encoding="utf-8"))


def teaching_limits() -> tuple[str, tuple[str, ...]]:
    """A title and sentences that say what synthetic images cannot teach."""
    data = json.loads(resource_path("Cases", "limits.json").read_text(encoding="utf-8"))
    return data["title"], tuple(data["sentences"])


def _bundled(case_id: str) -> Case:
    return read_case(resource_path("Cases", case_id))


def _index() -> dict[str, Any]:
    return json.loads(resource_path("Cases", "index.json").read_text(encoding="utf-8"))
