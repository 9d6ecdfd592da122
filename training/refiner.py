"""Stage *refiner*: the network behind the decoder that reads the mask (:mod:`SynthCTLib.refiner`).

Needs the stages *encode* (with ``encode.images``) and *controlnet*. Loss: on decoded latents of real CTs the
autoencoder's terms, on sampled CTs :mod:`training.refiner_loss`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from SynthCTLib.errors import InputError
from SynthCTLib.refiner import Refiner, refine
from training.autoencoder_loss import ReconstructionLoss, bone_surface
from training.config import Config
from training.ema import ExponentialMovingAverage
from training.loop import Rhythm, clip_gradients, run_stage, start_fabric
from training.metrics.following import following
from training.model_conditions import hu_prior
from training.progress import RunLog
from training.refiner_loss import follow, is_among, keep, pattern, told_ids
from training.refiner_volumes import CropSampler, Volume, make_volumes
from training.schedule import warmup_cosine
from training.settings import read_settings, require_keys
from training.step_draws import micro_draws, shared_draws
from training.trained_networks import denoiser_state

AIR = -1.0
"""What the table of labels starts with for ids without a typical HU: −1000 HU / 1000."""


def new_refiner(arguments: dict[str, Any]) -> Refiner:
    """An untrained refiner that knows each label by its typical HU / 1000."""
    refiner = Refiner(**arguments)
    with torch.no_grad():
        refiner.labels.weight[:, 0] = AIR
        for label, hu in hu_prior().items():
            refiner.labels.weight[int(label), 0] = hu / 1000
    return refiner


class RefinerStage:
    """A :class:`training.loop.Stage`: refiner, optimizer and crops."""

    def __init__(self, config: Config, settings: dict[str, Any], fabric: Fabric) -> None:
        self.settings, self.fabric, self.seed = settings, fabric, config["seed"]
        if fabric.world_size > 1:
            raise InputError("The stage 'refiner' runs in one process; set devices=1.")
        self.of = denoiser_state(Path(config["run"]))
        volumes = make_volumes(config, "train", settings["volumes"], settings["weights"])
        self.crops = CropSampler(volumes, settings["patch"], settings["lesion_crops"])
        kinds = {kind: 1.0 for kind in settings["weights"] if "with lesions" not in kind}
        self.held_out = make_volumes(config, "val", settings["val_volumes"], kinds)
        self.model = new_refiner(config["network"]["refiner"])
        optimizer = torch.optim.Adam(self.model.parameters(), lr=settings["lr"], betas=(0.9, 0.99))
        self.refiner, self.optimizer = fabric.setup(self.model, optimizer)
        self.ema = ExponentialMovingAverage(self.model, settings["ema"])
        self.loss = ReconstructionLoss(settings | {"perceptual": 0}, None)
        self.told = told_ids()

    def step(self, step: int) -> dict[str, float]:
        """One update of the weights."""
        s = self.settings
        lr = s["lr"] * warmup_cosine(step, s["warmup"], s["steps"])
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)
        crop = self.crops.batch(s["batch"], micro_draws(self.seed, step, 0))
        real, decoded, sampled, mask = self.fabric.to_device((crop.real, crop.decoded, crop.sampled, crop.mask))
        from_decoded, from_sampled = self.refiner(torch.cat([decoded, sampled]), torch.cat([mask, mask])).chunk(2)
        terms = self.loss.image(from_decoded, real, shared_draws(self.seed, step))
        terms |= self._sampled_terms(from_sampled, real, sampled, mask)
        total = torch.stack(list(terms.values())).sum()
        self.fabric.backward(total)
        norm = clip_gradients(self.fabric, self.refiner, self.optimizer, s["clip"])
        self.optimizer.step()
        self.ema.update(self.model)
        scalars = {name: value.item() for name, value in terms.items()}
        return {"loss": total.item(), **scalars, **norm, "lr": lr}

    def _sampled_terms(
        self, output: torch.Tensor, real: torch.Tensor, sampled: torch.Tensor, mask: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Weighted terms of refined samples by name."""
        s, told = self.settings, is_among(mask, self.told)
        return {
            "follow": s["follow"] * follow(output, real, told),
            "bone": s["bone_surface"] * bone_surface(output, real),
            "keep": s["keep"] * keep(output, sampled, told),
            "pattern": s["pattern"] * pattern(output, sampled),
        }

    @torch.no_grad()
    def validate(self, step: int, log: RunLog) -> None:
        """Whole held-out volumes with the averaged weights: error, following of the mask, a picture."""
        with self.ema.applied_to(self.model):
            decoded, sampled = ([self._refined(v, image) for v in self.held_out] for image in ("decoded", "sampled"))
        real = [v.real.astype(np.float32) for v in self.held_out]
        masks = [v.mask for v in self.held_out]
        errors = [np.abs(a - b)[m > 0].mean() for a, b, m in zip(decoded, real, masks, strict=True)]
        shares = following([_hu(a) for a in sampled], [_hu(a) for a in real], masks)
        log.scalars(
            step,
            force=True,
            val_mae_hu=2000 * float(np.mean(errors)),
            **{f"val_{name}_share": found["share"] for name, found in shares.items()},
        )
        first = self.held_out[0]
        images = (first.sampled.astype(np.float32), sampled[0], real[0])
        slices = [torch.from_numpy(a[:, :, a.shape[2] // 2].copy())[None] for a in images]
        log.images(step, "sampled-refined-real", slices)

    def _refined(self, volume: Volume, image: str) -> np.ndarray:
        unit = refine(self.model, getattr(volume, image).astype(np.float32), volume.mask)
        return np.where(volume.mask == 0, 0, unit)

    def state_dict(self) -> dict[str, Any]:
        """Weights, their average and the optimizer."""
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "of": self.of,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])


def _hu(unit: np.ndarray) -> np.ndarray:
    return unit * 2000 - 1000


def train_refiner(config: Config) -> None:
    """Train (or resume) the refiner; ``refiner.pt`` in the run folder always holds the newest state."""
    settings = read_settings(config, "refiner")
    require_keys(config, "run", "seed", "accelerator", "devices", "network.refiner", "export.card.defaults")
    fabric = start_fabric(config, settings["precision"])
    stage = RefinerStage(config, settings, fabric)
    rhythm = Rhythm(settings["steps"], settings["val_every"], settings["save_every"])
    run_stage(stage, "refiner", Path(config["run"]), rhythm, fabric)
