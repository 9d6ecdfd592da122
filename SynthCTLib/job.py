"""A job: everything that one run of ``generate`` needs, as plain data that travels as JSON."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SynthCTLib.errors import InputError
from SynthCTLib.resources import resource_path

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

SCHEMA = 1
DEFAULT_MODEL = "synthct-embedded-v2"
SCHEMES = ("maisi", "totalsegmentator", "names")
SOLVER_NAMES = ("euler", "euler-exact", "ab2", "ab3", "dpm2m", "ddpm", "ddim")
PRESETS = ("draft", "standard", "best")
SEEDS = 2**32
"""Seeds are 0 … SEEDS − 1: what fits a spin box and every random generator."""
# A step between the seeds of retries that no realistic ``count`` reaches, so that no two tries of a job share a seed.
RETRY_STRIDE = 1_000_003


@dataclass(frozen=True)
class Job:
    """Settings of one run; None means: as the model card says. Meaning of each: ``Resources/schemas/job.schema.json``.

    ``mask`` is None for a model that takes none. ``size`` (voxels) and ``spacing`` (mm) are toward right, anterior,
    superior.
    """

    mask: Path | None
    out: Path
    model: str = DEFAULT_MODEL
    region: str | None = None
    labels: str | None = None
    ct: Path | None = None
    size: tuple[int, int, int] | None = None
    spacing: tuple[float, float, float] | None = None
    preset: str | None = None
    steps: int | None = None
    solver: str | None = None
    guidance: float | None = None
    temperature: float | None = None
    seed: int | None = None
    device: str = "auto"
    grid: str = "model"
    retries: int = 0
    count: int = 1
    stop_with_stdin: bool = False
    cancel_file: Path | None = None
    parent_pid: int | None = None

    def with_seed(self) -> Job:
        """The same job with a seed: the given one, else one drawn at random."""
        return self if self.seed is not None else replace(self, seed=secrets.randbelow(2**31))

    def seed_of(self, number: int, attempt: int) -> int:
        """Seed of CT ``number`` (from 0) at ``attempt`` (0 = first): the same job always tries the same seeds."""
        if self.seed is None:
            raise ValueError("The job has no seed yet; call with_seed() first.")
        return (self.seed + number + attempt * RETRY_STRIDE) % SEEDS

    def scheme(self) -> str | None:
        """The reading of the label numbers, None where it is to be detected or where a map is given."""
        return self.labels if self.labels in SCHEMES else None

    def label_map(self) -> Path | None:
        """Path of the JSON map of labels, if ``labels`` names one."""
        return None if self.labels is None or self.labels in SCHEMES else Path(self.labels)


def job_to_json(job: Job) -> dict[str, Any]:
    """Plain values of a job, as in a job file; paths become absolute."""
    data: dict[str, Any] = {"schema": SCHEMA}
    for key, value in asdict(job).items():
        if isinstance(value, Path):
            value = str(value.absolute())
        data[key] = list(value) if isinstance(value, tuple) else value
    label_map = job.label_map()
    data["labels"] = str(label_map.absolute()) if label_map is not None else job.labels
    return data


def job_from_json(data: Mapping[str, Any], base: Path | None = None) -> Job:
    """A job from the values of a job file.

    Args:
        data: as ``job.schema.json`` says.
        base: folder that relative paths start from; None: the working folder.

    Raises:
        InputError: for any value that the schema does not allow, naming it.
    """
    problems = sorted(_validator().iter_errors(data), key=lambda problem: list(map(str, problem.path)))
    if problems:
        raise InputError(f"The job cannot be used: {_sentence(problems[0])} Correct it and run again.")
    values = {"mask": None, **{key: value for key, value in data.items() if key != "schema"}}
    base = base or Path()
    for key in ("mask", "out", "ct", "cancel_file"):
        if values.get(key) is not None:
            values[key] = base / Path(values[key])
    if values.get("labels") is not None and values["labels"] not in SCHEMES:
        values["labels"] = str(base / values["labels"])
    for key in ("size", "spacing"):
        if values.get(key) is not None:
            values[key] = tuple(values[key])
    job = Job(**values)
    label_map = job.label_map()
    if label_map is not None and not label_map.is_file():
        raise InputError(
            f"The label scheme '{data['labels']}' is neither one of {', '.join(SCHEMES)} nor an existing JSON file."
        )
    return job


def read_job(path: Path) -> Job:
    """Read a job file (UTF-8 JSON). Raises InputError when it is missing, no JSON or not allowed by the schema."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"The job file '{path}' cannot be read ({error.strerror}); check its path.") from error
    except ValueError as error:
        raise InputError(f"The job file '{path}' is not valid JSON ({error}); correct it.") from error
    return job_from_json(data, Path(path).absolute().parent)


@cache
def _validator() -> Draft202012Validator:
    from jsonschema import Draft202012Validator  # here, since 3D Slicer's own process only asks for names and defaults

    schema = json.loads(resource_path("schemas", "job.schema.json").read_text(encoding="utf-8"))
    return Draft202012Validator(schema)


def _sentence(problem: Any) -> str:
    """One JSON-schema problem in words, with the name of the setting first."""
    where = problem.path[0] if problem.path else None
    text = problem.message.rstrip(".")
    return f"'{where}': {text}." if where is not None else f"{text}."
