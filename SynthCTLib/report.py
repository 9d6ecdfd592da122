"""The report of a run: what was made, from what, with what, in which time, and how good it is."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any

import numpy as np
import torch

from SynthCTLib import __version__
from SynthCTLib.cards import ModelCard
from SynthCTLib.device import inference_dtype
from SynthCTLib.job import Job, job_to_json
from SynthCTLib.mask import PreparedMask
from SynthCTLib.organ_check import OrganResult
from SynthCTLib.output import DISCLAIMER, PROGRAM
from SynthCTLib.slabs import count_ids
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
    """One try: its seed, the share of structures in order, and the organ groups that are not."""

    seed: int
    score: float
    failed_groups: list[str]

    @property
    def passed(self) -> bool:
        """Whether all organ groups in the image are in order; single structures do not count."""
        return not self.failed_groups

    def better_than(self, other: Attempt) -> bool:
        """Fewer groups that fail, else more structures in order."""
        return (-len(self.failed_groups), self.score) > (-len(other.failed_groups), other.score)

    def to_json(self) -> dict[str, Any]:
        """Plain values for the report."""
        return {**asdict(self), "passed": self.passed}


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
    decode: dict[str, Any],
    timings: Timings,
) -> dict[str, Any]:
    """What is needed to make this CT again, and the time it took so far, for the NIfTI header.

    Paths stay in the report, since names of folders may tell who a patient is. Because of the timings two files of the
    same job differ in their headers; voxels and affine are the same.
    """
    model_grid = {"size": list(prepared.labels.shape), "spacing": [round(v, 6) for v in prepared.labels.spacing]}
    return {
        **origin(card, store, device, seed, settings),
        "region": list(prepared.region.names),
        "mask": {key: prepared.how[key] for key in ("format", "scheme", "body")},
        "model_grid": model_grid,
        "grid": job.grid,
        "decode": decode,
        "timings": timings.to_json(),
    }


def origin(
    card: ModelCard, store: ModelStore, device: torch.device, seed: int, settings: dict[str, Any]
) -> dict[str, Any]:
    """The part of the provenance that every volume has, painted from a mask or not."""
    return {
        "program": PROGRAM,
        "version": __version__,
        "model": {"id": card.id, "sha256": store.hashes(card)},
        "seed": seed,
        "settings": settings,
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
            "file": job.mask.name if job.mask is not None else None,
            "shape": list(prepared.source_shape),
            "affine": np.asarray(prepared.source_affine).tolist(),
            "how": prepared.how,
        },
        "region": list(prepared.region.names),
        "grid": grid_json(prepared.labels),
        "labels": np.flatnonzero(count_ids(prepared.labels.array)).tolist(),
        "findings": [finding.to_json() for finding in prepared.findings],
        "versions": package_versions(),
    }


def ct_report(
    job: Job,
    card: ModelCard,
    prepared: PreparedMask,
    result: Volume,
    files: dict[str, str],
    provenance: dict[str, Any],
    organs: Sequence[OrganResult],
    attempts: Sequence[Attempt],
    chosen: int,
) -> dict[str, Any]:
    """The whole report of one CT, without timings, which are added when all is done.

    ``attempts[chosen]`` is the try that was kept; ``result`` is the CT on the grid that was asked for; ``files`` are
    the names of the files beside the report.
    """
    return {
        **mask_report(job, prepared),
        "summary": summary(card, organs, attempts, chosen, provenance["decode"]),
        "files": files,
        "model": model_json(card, provenance["model"]["sha256"]),
        "seed": attempts[chosen].seed,
        "settings": provenance["settings"],
        "job": job_to_json(job),
        "device": provenance["device"],
        "decode": provenance["decode"],
        "result": grid_json(result),
        "organs": [organ.to_json() for organ in organs],
        "score": attempts[chosen].score,
        "passed": attempts[chosen].passed,
        "attempts": [attempt.to_json() for attempt in attempts],
    }


def summary(
    card: ModelCard,
    organs: Sequence[OrganResult],
    attempts: Sequence[Attempt],
    chosen: int,
    decode: dict[str, Any],
) -> list[str]:
    """The result in sentences: what it is, how it was made and chosen, how good it is, and the worst flaws first."""
    sentences = [f"{DISCLAIMER}. Made by {card.title}, seed {attempts[chosen].seed}."]
    if len(attempts) > 1:
        kept = "which passes the organ check" if attempts[chosen].passed else "the best of them, which still has flaws"
        sentences.append(f"{len(attempts)} seeds were tried; kept is number {chosen + 1}, {kept}.")
    if decode["reduced"]:
        sentences.append(
            f"Memory ran short, so the image was decoded in {prod(decode['tiles'])} pieces, which took longer; it "
            "is the same image but for rounding."
        )
    return [*sentences, *_group_sentences(organs), *_structure_sentences(organs)]


def _group_sentences(organs: Sequence[OrganResult]) -> list[str]:
    """How many organ groups are in order, which decides whether the CT passes, and those that are not."""
    judged = [organ for organ in organs if organ.group and organ.verdict in JUDGED]
    if not judged:
        return ["The organ check has nothing to judge by: none of its organ groups is in the image."]
    failed = failed_groups(organs)
    good = f"{len(judged) - len(failed)} of {len(judged)}"
    return [f"Organ check: {good} organ groups pass.", *(organ.sentence for organ in failed)]


def _structure_sentences(organs: Sequence[OrganResult]) -> list[str]:
    """How many single structures are in order, for information, and the worst of the others."""
    single = [organ for organ in organs if organ.id is not None]
    judged = [organ for organ in single if organ.verdict in JUDGED]
    failed = failed_organs(single)
    flaws = [organ for organ in failed if not organ.group]
    if not judged:
        return []
    good = f"{len(judged) - len(failed)} of {len(judged)}"
    sentences = [f"{good} single structures have the density that is expected of them."]
    sentences += [organ.sentence for organ in flaws[:FLAWS_TOLD]]
    if len(flaws) > FLAWS_TOLD:
        sentences.append(f"{len(flaws) - FLAWS_TOLD} more are listed in the report.")
    return sentences


def failed_groups(organs: Sequence[OrganResult]) -> list[OrganResult]:
    """The organ groups that are too dark or too bright, the farthest off first."""
    return failed_organs([organ for organ in organs if organ.group])


def failed_organs(organs: Sequence[OrganResult]) -> list[OrganResult]:
    """The structures and groups that are too dark or too bright, the farthest off first."""
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


def model_json(card: ModelCard, sha256: dict[str, str | None]) -> dict[str, Any]:
    """What the report says about the model."""
    return {
        "id": card.id,
        "title": card.title,
        "sha256": sha256,
        "licence": card.licence,
        "citation": card.citation,
    }


def device_json(device: torch.device) -> dict[str, Any]:
    """Name of the device, its model where it is a GPU, and the precision of the denoiser: with it goes the rounding."""
    model = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "device": str(device),
        "model": model,
        "threads": torch.get_num_threads(),
        "precision": str(inference_dtype(device)).removeprefix("torch."),
    }
