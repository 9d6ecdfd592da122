"""A job for a model that takes no segmentation: noise → latent → volume → files, as often as asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from SynthCTLib.cards import ModelCard
from SynthCTLib.errors import InputError
from SynthCTLib.intensity import unit_to_hu
from SynthCTLib.job import Job, job_to_json
from SynthCTLib.kept import Kept, files_key
from SynthCTLib.loading import load_part, require_files
from SynthCTLib.medical_diffusion.factorized_unet import FactorizedUNet
from SynthCTLib.medical_diffusion.sampling import decode_unit_latent, sample_unit_latent
from SynthCTLib.medical_diffusion.vqgan import VqGan
from SynthCTLib.output import CT, DISCLAIMER, MR, PREVIEW, REPORT, result_folders, write_json, write_nifti
from SynthCTLib.preview import SOFT_TISSUE, write_plain_preview
from SynthCTLib.progress import Progress
from SynthCTLib.report import SCHEMA, Timings, grid_json, model_json, origin
from SynthCTLib.result import Result, SyntheticCt
from SynthCTLib.store import ModelStore
from SynthCTLib.volume import Volume

OF_A_MASK = ("mask", "ct", "labels", "region", "size", "spacing")
"""Settings that only mean something where a segmentation is painted."""


@dataclass(frozen=True)
class Networks:
    """The two networks of a model, in float32 on one device: small ones, whose codes must stay the nearest."""

    vqgan: VqGan
    denoiser: FactorizedUNet


def generate_without_mask(
    job: Job,
    card: ModelCard,
    settings: dict[str, Any],
    device: torch.device,
    work: Path,
    store: ModelStore,
    progress: Progress,
    kept: Kept,
) -> Result:
    """Make the volumes of a job in ``work``, the folder that becomes ``job.out``. Raises SynthCTError."""
    refuse_mask(job, card, settings)
    progress.step("load", 0, 1)
    networks = kept.get((files_key(card, store), device), lambda: _load(card, store, device))
    progress.step("load", 1, 1)
    made = []
    folders = zip(result_folders(work, job.count), result_folders(job.out, job.count), strict=True)
    for number, (place, out) in enumerate(folders):
        if job.count > 1:
            progress.step("image", number, job.count)
        timings, seed = Timings(), job.seed_of(number, 0)
        volume = sample_volume(networks, card, settings, seed, progress, timings)
        told = {**origin(card, store, device, seed, settings), "region": card.trained_on["regions"]}
        progress.step("write", 0, 1)
        made.append(_write(job, card, volume, told, timings, place, out))
        progress.step("write", 1, 1)
    return Result(made)


def refuse_mask(job: Job, card: ModelCard, settings: dict[str, Any]) -> None:
    """Raise InputError for settings that belong to a segmentation."""
    given = [name for name in OF_A_MASK if getattr(job, name) is not None]
    given += [name for name, used in (("grid", job.grid != "model"), ("retries", job.retries > 0)) if used]
    given += ["guidance"] if settings["guidance"] > 0 else []
    if given:
        raise InputError(f"The model {card.id} takes no segmentation; leave out: {', '.join(given)}.")


def sample_volume(
    networks: Networks,
    card: ModelCard,
    settings: dict[str, Any],
    seed: int,
    progress: Progress | None = None,
    timings: Timings | None = None,
) -> Volume:
    """One volume, int16, of the card's size and spacing, its middle at 0 mm. Raises InputError, Cancelled."""
    timings, progress = timings or Timings(), progress or Progress()
    grid, axis = card.grid["defaults"]["*"], card.latent["depth_axis"]
    size = [grid["size"][axis], *(n for other, n in enumerate(grid["size"]) if other != axis)]
    shape = [n // factor for n, factor in zip(size, card.latent["downsampling"], strict=True)]
    with timings.measure("denoise"):
        unit = sample_unit_latent(
            networks.denoiser,
            (1, card.latent["channels"], *shape),
            card.scheduler,
            seed,
            int(settings["steps"]),
            settings["solver"],
            float(settings["temperature"]),
            progress,
        )
    with timings.measure("decode"):
        progress.step("decode", 0, 1)
        image = decode_unit_latent(networks.vqgan, unit)[0, 0].numpy()
        progress.step("decode", 1, 1)
    array = np.moveaxis((image + 1) / 2, 0, axis)
    everywhere = np.ones(array.shape, np.uint8)
    spacing = np.array(grid["spacing"], float)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -spacing * (np.array(array.shape) - 1) / 2
    return Volume(unit_to_hu(array, card.intensity, everywhere), affine)


def _load(card: ModelCard, store: ModelStore, device: torch.device) -> Networks:
    require_files(card, store)
    return Networks(**{part: load_part(card, store, part)[0].float().to(device) for part in card.parts})  # type: ignore[arg-type]


def _write(
    job: Job, card: ModelCard, volume: Volume, told: dict[str, Any], timings: Timings, place: Path, out: Path
) -> SyntheticCt:
    """Volume, report and preview of one sample into ``place``, which becomes ``out``."""
    seed, name = told["seed"], CT if card.modality == "ct" else MR
    files = {card.modality: name, "report": REPORT, "preview": PREVIEW}
    regions = " and ".join(card.trained_on["regions"]) or "a region that its card does not state"
    summary = [
        f"{DISCLAIMER}. Made by {card.title}, seed {seed}.",
        f"{card.modality.upper()} of {regions}, without a segmentation, so that no organ could be checked.",
    ]
    with timings.measure("write"):
        place.mkdir(parents=True, exist_ok=True)
        write_nifti(place / name, volume, f"{card.id} seed {seed}", {**told, "timings": timings.to_json()})
        write_plain_preview(place / PREVIEW, volume, _window(card), f"{card.title}, seed {seed}")
    report = {
        "schema": SCHEMA,
        **told,
        "disclaimer": DISCLAIMER,
        "summary": summary,
        "files": files,
        "model": model_json(card, told["model"]["sha256"]),
        "modality": card.modality,
        "job": job_to_json(job),
        "result": grid_json(volume),
        "timings": timings.to_json(),
    }
    write_json(place / REPORT, report)
    return SyntheticCt(out, files, seed, 0.0, True, summary)


def _window(card: ModelCard) -> tuple[str, float, float]:
    """The preview's window: soft tissue for CT, the whole range for MR."""
    if card.modality == "ct":
        return ("CT, soft tissue", *SOFT_TISSUE[1:])
    low, high = card.intensity["hu"]
    return "MR", high - low, (low + high) / 2
