"""Stage *tally*: filled-in reader forms and their key become sensitivity, specificity and mean grades.

A reader calls a CT made by a computer if the grade of its appearance is A, B or C; D is "Can't tell whether fake or
not". Sensitivity: share of the made CTs that were recognized; a good generator makes it small. Specificity: share of
the real CTs that were not taken for made ones. Both have the 95 % interval of Wilson (JASA 1927).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from SynthCTLib.errors import InputError
from training.config import Config
from training.files import write_json
from training.reader_form import CATEGORIES

APPEARANCE = next(iter(CATEGORIES))
GRADES = "ABCD"
Graded = dict[str, dict[str, str]]  # number of the CT → category → grade


def tally(config: Config) -> None:
    """Read all ``*.json`` in ``evaluate.forms`` and write ``<run>/scorecards/<name>-readers.json``.

    In a config of Medical Diffusion, ``md-readers`` takes the place of ``evaluate``.

    Raises:
        InputError: no forms, no key, or a form that does not belong to the key.
    """
    section = "evaluate" if "evaluate" in config else "md-readers"
    c, pages = config[section], Path(config["run"]) / "scorecards"
    key_path = pages / f"{c['name']}-reader-key.json"
    if not key_path.is_file():
        raise InputError(
            f"There is no {key_path}: run '{section}' for '{c['name']}', which writes the form and its key."
        )
    paths = sorted(Path(c["forms"]).glob("*.json")) if c["forms"] else []
    if not paths:
        raise InputError(f"There are no filled-in forms: name their folder, {section}.forms=FOLDER.")
    key = {number: entry["kind"] for number, entry in json.loads(key_path.read_text(encoding="utf-8")).items()}
    readers = dict(read_form(path, key) for path in paths)
    if len(readers) < len(paths):
        raise InputError(f"Two forms in {c['forms']} are of the same reader; keep one of them.")
    result = {"readers": {name: score(key, [form]) for name, form in readers.items()}}
    result["all"] = score(key, list(readers.values()))
    write_json(pages / f"{c['name']}-readers.json", result)
    for name, found in (*result["readers"].items(), ("all", result["all"])):
        values = (found[rate] for rate in ("sensitivity", "specificity"))
        texts = (f"{v['value']:.2f} ({v['95_percent'][0]:.2f}-{v['95_percent'][1]:.2f}, n {v['n']})" for v in values)
        print(f"{name}: sensitivity {next(texts)}, specificity {next(texts)}")


def read_form(path: Path, key: dict[str, str]) -> tuple[str, Graded]:
    """(Name of the reader, grades of all CTs). Raises InputError for a form that is not complete or of another key."""
    answers = json.loads(path.read_text(encoding="utf-8"))
    name = answers.pop("reader", None)
    wanted = {f"{number} {category}" for number in key for category in CATEGORIES}
    if not name or set(answers) != wanted or not set(answers.values()) <= set(GRADES):
        raise InputError(f"{path} is not a complete form of these CTs; save it again from the page, or remove it.")
    return name, {number: {category: answers[f"{number} {category}"] for category in CATEGORIES} for number in key}


def score(key: dict[str, str], forms: list[Graded]) -> dict[str, Any]:
    """Sensitivity, specificity and, per category, the mean grade (A 1 to D 4) of made and of real CTs."""
    taken_for_made = {
        kind: [form[n][APPEARANCE] != "D" for form in forms for n in key if key[n] == kind] for kind in ("made", "real")
    }
    grades = {
        category: {
            kind: float(np.mean([1 + GRADES.index(form[n][category]) for form in forms for n in key if key[n] == kind]))
            for kind in ("made", "real")
        }
        for category in CATEGORIES
    }
    return {
        "sensitivity": rate(sum(taken_for_made["made"]), len(taken_for_made["made"])),
        "specificity": rate(taken_for_made["real"].count(False), len(taken_for_made["real"])),
        "mean_grade": grades,
    }


def rate(hits: int, n: int) -> dict[str, Any]:
    """Share with Wilson's 95 % interval; answers about one CT by several readers count as independent."""
    interval = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    return {"value": hits / n, "95_percent": [float(interval.low), float(interval.high)], "n": n}
