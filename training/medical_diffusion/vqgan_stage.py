"""Stage *vqgan*: the autoencoder of the Medical Diffusion family; resumable, state in ``<run>/vqgan.pt``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from training.config import Config
from training.loop import Rhythm, run_stage
from training.medical_diffusion.stage import one_device
from training.medical_diffusion.volumes import VolumeSet
from training.medical_diffusion.vqgan_training import VqGanTraining
from training.progress import RunLog


class VqGanStage:
    """The training with its data; batches follow from seed and step."""

    def __init__(self, config: Config, fabric: Fabric) -> None:
        self.settings, self.seed, self.fabric = config["vqgan"], config["seed"], fabric
        self.volumes, self.held_out = VolumeSet(config, "train"), VolumeSet(config, "val")
        self.training = VqGanTraining(config["network"]["vqgan"], self.settings, self.seed, fabric)

    def step(self, step: int) -> dict[str, float]:
        """One update; before the very first one the codes are put on latents of ``initial_batches`` batches."""
        if not self.training.learner.initialized:
            first = [self._batch([self.seed, 2, k]) for k in range(self.settings["initial_batches"])]
            self.training.start_codebook(torch.cat(first))
        return self.training.step(self._batch([self.seed, 1, step]), step)

    def validate(self, step: int, log: RunLog) -> None:
        """Log error and use of the codebook on held-out volumes, and a picture of their middle slices."""
        count = min(len(self.held_out), self.settings["val_volumes"])
        images = [self.fabric.to_device(self.held_out.tensor(n)[None]) for n in range(count)]
        pairs = [(image, *self.training.reconstruct(image)) for image in images]
        errors = [(output - image).abs() for image, output, _ in pairs]
        indices = torch.cat([found.flatten() for _, _, found in pairs])
        log.scalars(
            step,
            force=True,
            val_l1=sum(error.mean().item() for error in errors) / count,
            val_worst_voxel=max(error.max().item() for error in errors),
            val_codes=float(len(indices.unique())),
        )
        middle = images[0].shape[2] // 2
        rows = [torch.stack([(pair[k][0, 0, middle] + 1) / 2 for pair in pairs[:6]]).cpu() for k in (0, 1)]
        log.images(step, "reconstruction", rows)

    def state_dict(self) -> dict[str, Any]:
        """That of the training."""
        return self.training.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        self.training.load_state_dict(state)

    def _batch(self, seeds: list[int]) -> torch.Tensor:
        return self.fabric.to_device(self.volumes.batch(self.settings["batch"], np.random.default_rng(seeds)))


def train_vqgan(config: Config) -> None:
    """Train or resume. Raises InputError for settings or data that cannot be used."""
    settings = config["vqgan"]
    fabric = one_device(config, settings["precision"])
    rhythm = Rhythm(settings["steps"], settings["val_every"], settings["save_every"])
    run_stage(VqGanStage(config, fabric), "vqgan", Path(config["run"]), rhythm, fabric)
