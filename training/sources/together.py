"""Several sources side by side: no case is lost and no two patients become one where sources use the same names."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import PurePath

from training.config import Config
from training.sources import find_cases
from training.sources.case import Case, LeftOut
from training.sources.naming import case_name


def find_all(sources: list[Config]) -> list[tuple[Case | LeftOut, Config]]:
    """What every source holds, with the settings of the source; ``path`` of each is a Path.

    A case whose id an earlier source has gets the name of its folder in front. So does a patient of an earlier source
    of another folder and group who is known by the name of a file or folder only. Earlier sources keep their names, so
    that one more at the end changes nothing that has been prepared. Raises InputError.
    """
    found: list[tuple[Case | LeftOut, Config]] = []
    cases: dict[str, Case] = {}
    origins: dict[str, str] = {}
    folders: Counter[str] = Counter()
    for settings in sources:
        folder = settings["path"].resolve()
        origin = str(settings.get("group", folder))
        name = case_name(PurePath(folder.name))
        folders[name] += 1
        prefix = f"{name}_" if folders[name] == 1 else f"{name}_{folders[name]}_"
        for item in find_cases(settings["path"], settings):
            if isinstance(item, Case):
                item = _set_apart(item, prefix, origin, cases, origins)
            if isinstance(item, Case):
                cases[item.case_id.lower()] = item
                origins.setdefault(item.patient, origin)
            found.append((item, settings))
    return found


def _set_apart(case: Case, prefix: str, origin: str, cases: dict[str, Case], origins: dict[str, str]) -> Case | LeftOut:
    """The case under names that no other case and no other patient has."""
    same_patient = case.identified or origins.get(case.patient, origin) == origin
    patient = case.patient if same_patient else prefix + case.patient
    other = cases.get(case.case_id.lower())
    case_id = case.case_id if other is None else prefix + case.case_id
    if other is not None and other.files == case.files:
        return LeftOut(case.case_id, "another source has it already (the same files).")
    if case_id.lower() in cases:
        return LeftOut(case_id, f"another case has the same name ({case.files[0].name}); rename one.")
    return dataclasses.replace(case, case_id=case_id, patient=patient)
