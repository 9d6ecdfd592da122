"""From a segmentation to a synthetic CT: the whole way of the data, top to bottom.

mask file → prepared mask (model grid, MAISI ids) → embedded mask → latent → image → HU → organ check → files

Models that take no mask are sampled by :mod:`SynthCTLib.medical_diffusion.job`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from SynthCTLib.cards import ModelCard, load_card
from SynthCTLib.conditioning import without_tumors
from SynthCTLib.conditions import build_conditions
from SynthCTLib.device import choose_device, inference_dtype, memory_advice
from SynthCTLib.embedding import embed_labels
from SynthCTLib.errors import InputError
from SynthCTLib.findings import Finding
from SynthCTLib.geometry import resample_image, resample_labels
from SynthCTLib.image import latent_to_image
from SynthCTLib.intensity import unit_to_hu
from SynthCTLib.job import Job
from SynthCTLib.kept import Kept, files_key
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.loading import load_networks
from SynthCTLib.mask import PreparedMask, prepare_mask
from SynthCTLib.medical_diffusion.job import generate_without_mask
from SynthCTLib.networks import Networks
from SynthCTLib.organ_check import OrganResult, check_organs, score
from SynthCTLib.output import (
    CT,
    CT_MODEL_GRID,
    MASK,
    MASK_MODEL_GRID,
    PREVIEW,
    REPORT,
    atomic_folder,
    check_target,
    result_folders,
    write_json,
    write_nifti,
)
from SynthCTLib.preview import write_preview
from SynthCTLib.progress import Progress
from SynthCTLib.report import Attempt, Timings, ct_report, failed_groups, mask_report, provenance
from SynthCTLib.result import Result, SyntheticCt
from SynthCTLib.sampler import sample_latent
from SynthCTLib.scheduler import check_solver
from SynthCTLib.store import ModelStore

OnFinding = Callable[[Finding], None]

OUT_OF_MEMORY = "Memory does not suffice; use a smaller --size, close other programs or choose --device cpu."
"""Where no step has better advice: reading, loading the model, embedding the mask, writing."""


@dataclass(frozen=True)
class _Engine:
    """What stays the same for every CT of a job."""

    job: Job
    card: ModelCard
    store: ModelStore
    device: torch.device
    networks: Networks
    prepared: PreparedMask
    settings: dict[str, Any]
    progress: Progress
    timings: Timings
    embedding: torch.Tensor
    healthy_embedding: torch.Tensor | None


@dataclass(frozen=True)
class _Candidate:
    """One sampled CT on the model grid, with its organ check."""

    hu: np.ndarray
    organs: list[OrganResult]
    attempt: Attempt
    decode: dict[str, Any]


def generate(
    job: Job,
    progress: Progress | None = None,
    store: ModelStore | None = None,
    on_finding: OnFinding | None = None,
    kept: Kept | None = None,
) -> Result:
    """Make the CTs of a job and write ``job.out``, which appears complete or not at all.

    Args:
        progress: told of every step; may cancel. store: models other than in the default folder.
        on_finding: told of each finding as soon as it is known.
        kept: given again with the next job, spares loading the same model again.

    Raises:
        SynthCTError: whatever kind fits, with one sentence; nothing has been written then.
    """
    job, progress, store = job.with_seed(), progress or Progress(), store or ModelStore()
    check_target(job.out, [path for path in (job.mask, job.ct) if path is not None])
    timings = Timings()
    with memory_advice(OUT_OF_MEMORY), atomic_folder(job.out) as work:
        card = load_card(job.model, store)
        settings = resolve_settings(job, card)
        device = choose_device(job.device)
        tell(check_solver(settings["solver"], settings["steps"], card.scheduler), on_finding)
        if not card.takes_mask:
            return generate_without_mask(job, card, settings, device, work, store, progress, kept or Kept())
        with timings.measure("prepare"):
            prepared = prepare(job, card, progress, on_finding)
        with timings.measure("load"):
            progress.step("load", 0, 1)
            dtype = inference_dtype(device)
            networks = (kept or Kept()).get(
                (files_key(card, store), device, dtype), lambda: load_networks(card, store, device, dtype)
            )
            progress.step("load", 1, 1)
        with timings.measure("embed"):
            embeddings = _embed(networks, card, prepared.labels.array, settings["guidance"], progress)
        engine = _Engine(job, card, store, device, networks, prepared, settings, progress, timings, *embeddings)
        folders = zip(result_folders(work, job.count), result_folders(job.out, job.count), strict=True)
        cts = [_make_ct(engine, number, *pair) for number, pair in enumerate(folders)]
    return Result(cts)


def prepare_only(
    job: Job,
    progress: Progress | None = None,
    store: ModelStore | None = None,
    on_finding: OnFinding | None = None,
) -> Path:
    """Write the mask that :func:`generate` would use, with a report but no CT; returns the folder."""
    progress, store = progress or Progress(), store or ModelStore()
    check_target(job.out, [path for path in (job.mask, job.ct) if path is not None])
    with memory_advice(OUT_OF_MEMORY), atomic_folder(job.out) as work:
        prepared = prepare(job, load_card(job.model, store), progress, on_finding)
        write_nifti(work / MASK, prepared.labels, "Label map, MAISI ids")
        write_json(work / REPORT, mask_report(job, prepared))
    return job.out


def prepare(job: Job, card: ModelCard, progress: Progress, on_finding: OnFinding | None = None) -> PreparedMask:
    """The segmentation of a job as conditioning mask of this model.

    Raises:
        InputError: also when a check has found something that would make the CT unusable.
    """
    if not card.takes_mask:
        raise InputError(f"The model {card.id} takes no segmentation, so there is none to prepare.")
    if job.mask is None:
        raise InputError(f"The model {card.id} paints a segmentation: give one as MASK (in a job as 'mask').")
    prepared = prepare_mask(
        job.mask,
        card,
        region=job.region,
        scheme=job.scheme(),
        label_map=job.label_map(),
        size=job.size,
        spacing=job.spacing,
        ct=job.ct,
        progress=progress,
    )
    tell(prepared.findings, on_finding)
    errors = [finding.sentence() for finding in prepared.findings if finding.severity == "error"]
    if errors:
        raise InputError(" ".join(errors))
    return prepared


def resolve_settings(job: Job, card: ModelCard) -> dict[str, Any]:
    """The sampling settings: those of the job, then those of its preset, then the card's defaults.

    Raises InputError for a preset that the card does not have.
    """
    if job.preset is not None and job.preset not in card.presets:
        raise InputError(f"The model {card.id} has no preset '{job.preset}'; give --steps and --solver instead.")
    settings = {"temperature": 1.0} | card.defaults | card.presets.get(job.preset or "", {})
    temperature = job.temperature
    if temperature is not None and not 0 <= temperature <= 2:
        raise InputError(f"The temperature {temperature} cannot be used; give a number from 0 to 2.")
    names = ("steps", "solver", "guidance", "temperature")
    return {name: settings[name] if getattr(job, name) is None else getattr(job, name) for name in names}


def tell(findings: Iterable[Finding], on_finding: OnFinding | None) -> None:
    """Pass findings on to whoever listens."""
    if on_finding is not None:
        for finding in findings:
            on_finding(finding)


def _embed(
    networks: Networks, card: ModelCard, labels: np.ndarray, guidance: float, progress: Progress
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The mask's embedding, and for guidance that of the mask without tumors: the same for every CT of a job."""
    prior = card.conditioning["hu_prior"]

    def embed(ids: np.ndarray) -> torch.Tensor:
        return embed_labels(networks.controlnet, torch.from_numpy(np.ascontiguousarray(ids)), prior, progress)

    healthy = without_tumors(labels, load_vocabulary().replacements()) if guidance > 0 else None
    return embed(labels), None if healthy is None else embed(healthy)


def _make_ct(engine: _Engine, number: int, work: Path, out: Path) -> SyntheticCt:
    """Sample CT ``number`` (from 0), with new seeds while organ groups fail and retries remain, and write the best."""
    job = engine.job
    best: _Candidate | None = None
    attempts: list[Attempt] = []
    for retry in range(job.retries + 1):
        if job.count * (job.retries + 1) > 1:
            engine.progress.step("image", number * (job.retries + 1) + retry, job.count * (job.retries + 1))
        candidate = _sample(engine, job.seed_of(number, retry))
        attempts.append(candidate.attempt)
        if best is None or candidate.attempt.better_than(best.attempt):
            best = candidate
        if candidate.attempt.passed:
            break
    assert best is not None
    return _write(engine, best, attempts, work, out)


def _sample(engine: _Engine, seed: int) -> _Candidate:
    """One CT: embedded mask → latent → image → HU, and its organ check."""
    prepared, card, progress = engine.prepared, engine.card, engine.progress
    labels = prepared.labels.array
    with engine.timings.measure("denoise"):
        latent = sample_latent(
            engine.networks,
            engine.embedding,
            build_conditions(card.conditioning, prepared.labels.spacing, prepared.region),
            scheduler=card.scheduler,
            seed=seed,
            steps=int(engine.settings["steps"]),
            solver=engine.settings["solver"],
            guidance=float(engine.settings["guidance"]),
            temperature=float(engine.settings["temperature"]),
            unconditional_embedding=engine.healthy_embedding,
            progress=progress,
        )
    with engine.timings.measure("decode"):
        decoded = latent_to_image(engine.networks, latent, labels, progress)
    with engine.timings.measure("check"):
        hu = unit_to_hu(decoded.unit, card.intensity, labels)
        organs = check_organs(hu, labels, load_vocabulary())
    failed = [organ.group for organ in failed_groups(organs) if organ.group]
    return _Candidate(hu, organs, Attempt(seed, round(score(organs), 4), failed), decoded.how())


def _write(engine: _Engine, best: _Candidate, attempts: list[Attempt], work: Path, out: Path) -> SyntheticCt:
    """Write the files of one CT into ``work``, the place that becomes ``out``.

    With ``grid`` "input" the CT and the mask are there on both grids: resampling cannot be undone.
    """
    job, card, prepared, timings, seed = engine.job, engine.card, engine.prepared, engine.timings, best.attempt.seed
    engine.progress.step("write", 0, 1)
    files = {"ct": CT, "mask": MASK, "report": REPORT, "preview": PREVIEW}
    origin = provenance(job, card, engine.store, prepared, engine.device, seed, engine.settings, best.decode, timings)
    text = f"{card.id} seed {seed}"
    with timings.measure("write"):
        work.mkdir(parents=True, exist_ok=True)
        ct, mask = prepared.labels.with_array(best.hu), prepared.labels
        if job.grid == "input":
            files |= {"ct_model_grid": CT_MODEL_GRID, "mask_model_grid": MASK_MODEL_GRID}
            write_nifti(work / CT_MODEL_GRID, ct, text, {**origin, "grid": "model"})
            write_nifti(work / MASK_MODEL_GRID, mask, text, {**origin, "grid": "model"})
            shape, affine = prepared.source_shape, prepared.source_affine
            ct = resample_image(ct, shape, affine, fill=card.intensity["background"])
            mask = resample_labels(mask, shape, affine)
        write_nifti(work / CT, ct, text, origin)
        write_nifti(work / MASK, mask, text, origin)
        write_preview(work / PREVIEW, ct, mask, f"{card.title}, seed {seed}")
    report = ct_report(job, card, prepared, ct, files, origin, best.organs, attempts, attempts.index(best.attempt))
    write_json(work / REPORT, {**report, "timings": timings.to_json()})
    engine.progress.step("write", 1, 1)
    return SyntheticCt(out, files, seed, best.attempt.score, best.attempt.passed, report["summary"])
