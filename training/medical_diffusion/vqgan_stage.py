"""Stage *vqgan*: the autoencoder of the Medical Diffusion family; resumable, state in ``<run>/vqgan.pt``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from training.config import Config
from training.medical_diffusion.stage import one_device, resume, run_steps
from training.medical_diffusion.volumes import VolumeSet
from training.medical_diffusion.vqgan_training import VqGanTraining
from training.progress import RunLog


def train_vqgan(config: Config) -> None:
    """Train or resume. Raises InputError for settings or data that cannot be used."""
    settings, run = config["vqgan"], Path(config["run"])
    fabric = one_device(config, settings["precision"])
    torch.manual_seed(config["seed"])
    volumes, held_out = VolumeSet(config, "train"), VolumeSet(config, "val")
    training = VqGanTraining(config["network"]["vqgan"], settings, config["seed"], fabric)
    path = run / "vqgan.pt"
    start = resume(training, path)

    def batch(step: int) -> torch.Tensor:
        return fabric.to_device(
            volumes.batch(settings["batch"], np.random.default_rng([config["seed"], 1 if step >= 0 else 2, abs(step)]))
        )

    if start == 0:
        training.start_codebook(torch.cat([batch(-1 - k) for k in range(settings["initial_batches"])]))
    log = RunLog(run, "vqgan", settings["steps"], start, active=True)
    seen = [fabric.to_device(held_out.tensor(n)[None]) for n in range(min(len(held_out), settings["val_volumes"]))]
    run_steps(
        training,
        path,
        log,
        start,
        settings,
        lambda step: training.step(batch(step), step),
        lambda step: validate(training, seen, log, step),
    )


def validate(training: VqGanTraining, images: list[torch.Tensor], log: RunLog, step: int) -> None:
    """Log error and use of the codebook on held-out volumes (1, 1, D, H, W), and a picture of middle slices."""
    pairs = [(image, *training.reconstruct(image)) for image in images]
    errors = [(output - image).abs().mean().item() for image, output, _ in pairs]
    indices = torch.cat([found.flatten() for _, _, found in pairs])
    log.scalars(
        step,
        force=True,
        val_l1=sum(errors) / len(errors),
        val_codes=float(len(indices.unique())),
        val_worst_voxel=max((output - image).abs().max().item() for image, output, _ in pairs),
    )
    middle = images[0].shape[2] // 2
    rows = [torch.stack([(pair[k][0, 0, middle] + 1) / 2 for pair in pairs[:6]]).cpu() for k in (0, 1)]
    log.images(step, "reconstruction", rows)
