"""The report of a run: what was made, from what, with what, in which time, and how good it is."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from SynthCTLib import __version__
from SynthCTLib.cards import ModelCard
from SynthCTLib.job import Job, job_to_json
from SynthCTLib.mask import PreparedMask
from SynthCTLib.organ_check import OrganResult
from SynthCTLib.output import DISCLAIMER, PROGRAM
from SynthCTLib.store import ModelStore
from SynthCTLib.volume import Volume

SCHEMA = 1
FLAWS_TOLD = 6  # sentences about single structures in the summary; the report has all
JUDGED = ("ok", "low", "high")  # the verdicts of structures that are large enough and have a known range
PACKAGES = ("torch", "monai", "numpy", "nibabel", "scipy")


@dataclass
class Timings:
    """Seconds by stage; a stage that runs again adds to its time."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Measure the block as ``stage``."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began

    def to_json(self) -> dict[str, float]:
        """Seconds, rounded to milliseconds, with their sum as ``total``."""
        rounded = {stage: round(seconds, 3) for stage, seconds in self.seconds.items()}
        return {**rounded, "total": round(sum(self.seconds.values()), 3)}


@dataclass(frozen=True)
class Attempt:
    """One try: its seed, how it scored in the organ check, and whether all organs passed."""

    seed: int
    score: float
    passed: bool


def package_versions() -> dict[str, str]:
    """Versions of Python, of this machine's system and of the packages that decide about the result."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"synthct": __version__, "python": platform.python_version(), **versions, "system": platform.platform()}


def provenance(
    job: Job,
    card: ModelCard,
    store: ModelStore,
    prepared: PreparedMask,
    device: torch.device,
    seed: int,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """What is needed to make this CT again, for the NIfTI header.

    Paths stay in the report, since names of folders may tell who a patient is. Timings stay there too: the same job
    gives the same file, byte for byte.
    """
    model_grid = {"size": list(prepared.labels.shape), "spacing": [round(v, 6) for v in prepared.labels.spacing]}
    return {
        "program": PROGRAM,
        "version": __version__,
        "model": {"id": card.id, "sha256": store.hashes(card)},
        "seed": seed,
        "settings": settings,
        "region": list(prepared.region.names),
        "mask": {key: prepared.how[key] for key in ("format", "scheme", "body")},
        "model_grid": model_grid,
        "grid": job.grid,
        "device": device_json(device),
        "versions": package_versions(),
    }


def mask_report(job: Job, prepared: PreparedMask) -> dict[str, Any]:
    """The part of the report that says what became of the segmentation."""
    return {
        "schema": SCHEMA,
        "program": PROGRAM,
        "disclaimer": DISCLAIMER,
        "input": {
            "file": job.mask.name,
            "shape": list(prepared.source_shape),
            "affine": np.asarray(prepared.source_affine).tolist(),
            "how": prepared.how,
        },
        "region": list(prepared.region.names),
        "grid": grid_json(prepared.labels),
        "labels": np.unique(prepared.labels.array).tolist(),
        "findings": [finding.to_json() for finding in prepared.findings],
        "versions": package_versions(),
    }


def ct_report(
    job: Job,
    card: ModelCard,
    prepared: PreparedMask,
    result: Volume,
    provenance: dict[str, Any],
    device: torch.device,
    organs: Sequence[OrganResult],
    attempts: Sequence[Attempt],
    chosen: int,
) -> dict[str, Any]:
    """The whole report of one CT, without timings, which are added when all is done.

    ``attempts[chosen]`` is the try that was kept; ``result`` is the CT on the grid that was asked for.
    """
    return {
        **mask_report(job, prepared),
        "summary": summary(card, organs, attempts, chosen),
        "model": {
            "id": card.id,
            "title": card.title,
            "sha256": provenance["model"]["sha256"],
            "licence": card.licence,
            "citation": card.citation,
        },
        "seed": attempts[chosen].seed,
        "settings": provenance["settings"],
        "job": job_to_json(job),
        "device": device_json(device),
        "result": grid_json(result),
        "organs": [organ.to_json() for organ in organs],
        "score": attempts[chosen].score,
        "attempts": [attempt.__dict__ for attempt in attempts],
    }


def summary(card: ModelCard, organs: Sequence[OrganResult], attempts: Sequence[Attempt], chosen: int) -> list[str]:
    """The result in sentences: what it is, how it was chosen, how good it is, and the worst flaws first."""
    sentences = [f"{DISCLAIMER}. Made by {card.title}, seed {attempts[chosen].seed}."]
    if len(attempts) > 1:
        kept = "which passes the organ check" if attempts[chosen].passed else "the best of them, which still has flaws"
        sentences.append(f"{len(attempts)} seeds were tried; kept is number {chosen + 1}, {kept}.")
    judged = [organ for organ in organs if organ.verdict in JUDGED]
    failed = failed_organs(organs)
    if judged:
        good = len(judged) - len(failed)
        sentences.append(f"{good} of {len(judged)} structures have the density that is expected of them.")
    sentences += [organ.sentence for organ in failed[:FLAWS_TOLD]]
    if len(failed) > FLAWS_TOLD:
        sentences.append(f"{len(failed) - FLAWS_TOLD} more are listed in the report.")
    return sentences


def failed_organs(organs: Sequence[OrganResult]) -> list[OrganResult]:
    """The structures that are too dark or too bright, the farthest off first."""
    return sorted((organ for organ in organs if organ.verdict in ("low", "high")), key=_distance, reverse=True)


def _distance(organ: OrganResult) -> float:
    """How many HU the median lies outside its range."""
    if organ.median_hu is None or organ.low is None or organ.high is None:
        return 0.0
    return max(organ.low - organ.median_hu, organ.median_hu - organ.high)


def grid_json(volume: Volume) -> dict[str, Any]:
    """Shape, spacing, orientation and affine of a grid."""
    return {
        "shape": list(volume.shape),
        "spacing": [round(value, 6) for value in volume.spacing],
        "orientation": volume.orientation,
        "affine": np.asarray(volume.affine, dtype=float).tolist(),
    }


def device_json(device: torch.device) -> dict[str, Any]:
    """Name of the device, and its model where it is a GPU."""
    model = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {"device": str(device), "model": model, "threads": torch.get_num_threads()}
