"""``synthct generate`` and ``synthct prepare``."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from SynthCTLib.cases import Case, find_case, list_cases
from SynthCTLib.errors import InputError
from SynthCTLib.events import Emit, event, finding_event, progress_event
from SynthCTLib.job import DEFAULT_MODEL, PRESETS, SCHEMES, SOLVER_NAMES, Job, job_from_json
from SynthCTLib.progress import Progress
from SynthCTLib.runner import run_generate

Commands = Any  # argparse's type for subparsers is private


def add_commands(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add both commands."""
    command = commands.add_parser("generate", parents=[common], help="make a CT, from a segmentation or without")
    _add_mask_options(command, optional=True)
    command.add_argument("--preset", choices=PRESETS, help="steps and solver by name: quick, usual or careful")
    command.add_argument("--steps", type=int, metavar="N", help="sampling steps (default: the model's)")
    command.add_argument("--solver", choices=SOLVER_NAMES, help="default: the model's")
    command.add_argument("--guidance", type=float, metavar="G", help="guidance toward tumors, 0 is off")
    command.add_argument("--temperature", type=float, metavar="T", help="below 1: smoother, less varied; 1: as trained")
    command.add_argument("--seed", type=int, metavar="N", help="same seed, same CT (default: at random, reported)")
    command.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps")
    command.add_argument(
        "--grid", choices=("model", "input"), default="model", help="voxel grid of the result (default: model)"
    )
    command.add_argument(
        "--retries", type=int, default=0, metavar="N", help="new seeds to try if the organ check fails; keeps the best"
    )
    command.add_argument("--count", type=int, default=1, metavar="N", help="number of CTs, into DIR/001, DIR/002, …")
    command.set_defaults(run=run)
    command = commands.add_parser("prepare", parents=[common], help="only write the mask that generate would use")
    _add_mask_options(command)
    command.set_defaults(run=run_prepare)


def _add_mask_options(command: argparse.ArgumentParser, optional: bool = False) -> None:
    command.add_argument(
        "mask",
        metavar="MASK",
        nargs="?" if optional else None,
        help="NIfTI, NRRD, .seg.nrrd, folder of TotalSegmentator masks, or id of a bundled case; "
        "left out for models that take none",
    )
    command.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the result")
    command.add_argument("--model", default=DEFAULT_MODEL, metavar="ID", help=f"default: {DEFAULT_MODEL}")
    command.add_argument("--region", metavar="NAME", help="chest, abdomen-pelvis, … (default: from the labels)")
    command.add_argument(
        "--labels", metavar="SCHEME", help=f"{', '.join(SCHEMES)} or a JSON map {{number: label}} (default: detected)"
    )
    command.add_argument("--ct", metavar="FILE", help="CT of the same patient, to take the body outline from")
    command.add_argument("--size", type=three_integers, metavar="XxYxZ", help="voxels, for example 128x128x96")
    command.add_argument("--spacing", type=three_numbers, metavar="XxYxZ", help="millimeters, for example 3x3x4")


def run(options: argparse.Namespace, emit: Emit) -> None:
    """Run ``generate``."""
    run_generate(job_from_options(options), emit)


def run_prepare(options: argparse.Namespace, emit: Emit) -> None:
    """Run ``prepare``."""
    from SynthCTLib.pipeline import prepare_only  # here, since it loads PyTorch

    progress = Progress(lambda step: emit(progress_event(step)))
    folder = prepare_only(job_from_options(options), progress, on_finding=lambda found: emit(finding_event(found)))
    emit(event("result", results=[{"mask": str(folder / "mask.nii.gz"), "report": str(folder / "report.json")}]))


def job_from_options(options: argparse.Namespace) -> Job:
    """The job that the options describe; checked like a job file. Raises InputError."""
    names = Job.__dataclass_fields__.keys() & vars(options).keys()
    values = {name: getattr(options, name) for name in names}
    for name in ("out", "labels", "ct"):
        values[name] = str(values[name]) if values.get(name) is not None else None
    case = find_bundled(options.mask) if options.mask is not None else None
    if case is not None:
        values["mask"], values["labels"] = str(case.path), values["labels"] or case.labels
    return job_from_json({"schema": 1, **values})


def find_bundled(text: str) -> Case | None:
    """The bundled case that MASK names; None where it names a file or folder. Raises InputError when it is neither."""
    if Path(text).exists():
        return None
    known = [case.id for case in list_cases()]
    if text in known:
        return find_case(text)
    raise InputError(f"There is no file or folder '{text}'; check the path, or use a bundled case: {', '.join(known)}.")


def three_integers(text: str) -> list[int]:
    """``128x128x96`` → three integers, for argparse."""
    return [int(part) for part in _three(text)]


def three_numbers(text: str) -> list[float]:
    """``3x3x4.5`` → three numbers, for argparse."""
    return [float(part) for part in _three(text)]


def _three(text: str) -> list[str]:
    parts = re.split(r"[x×,; ]+", text.strip())
    if len(parts) != 3 or not all(re.fullmatch(r"\d+(\.\d+)?", part) for part in parts):
        raise argparse.ArgumentTypeError(f"'{text}' are not three numbers; write them like 128x128x96")
    return parts
