"""Pre-training without labels: a network fills in what was hidden in synthetic CTs (Khader et al., Sci Rep 13:7303)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from monai.metrics.regression import compute_ms_ssim
from monai.transforms import RandCoarseDropout

from training.config import Config
from training.downstream.cases import LabeledVolume
from training.downstream.segmenter import CLIP, LabeledPatches, build_network
from training.loop import Rhythm, clip_gradients, run_stage
from training.progress import RunLog
from training.schedule import warmup_cosine
from training.step_draws import micro_draws

SCALES = (0.0448, 0.2856, 0.3001)  # Wang et al., Asilomar 2003: the first three of five scales, which 32 voxels allow
KERNEL = 5


def hide_blocks(image: torch.Tensor, settings: Mapping[str, Any], seed: int) -> torch.Tensor:
    """(N, 1, X, Y, Z) with boxes of 0 in each.

    ``settings``: ``blocks``, fewest and most boxes; ``side``, smallest and largest side as a share of the axis.
    """
    fewest, most = settings["blocks"]
    low, high = ([max(1, round(share * n)) for n in image.shape[2:]] for share in settings["side"])
    hide = RandCoarseDropout(fewest, low, fill_value=0.0, max_holes=most, max_spatial_size=high, prob=1.0)
    hide.set_random_state(seed)
    # A copy, since MONAI fills the blocks in place, and the image is what has to be found.
    return torch.stack([torch.as_tensor(hide(one.clone())).as_subclass(torch.Tensor) for one in image])


def inpainting_loss(filled: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """L1 + 1 − MS-SSIM, both (N, 1, X, Y, Z), ``image`` in [0, 1]."""
    weights = [weight / sum(SCALES) for weight in SCALES]
    alike = compute_ms_ssim(filled, image, spatial_dims=3, data_range=1.0, kernel_size=KERNEL, weights=weights)
    return F.l1_loss(filled, image) + 1 - alike.mean()


class Inpainting:
    """The stage's network, optimizer and patches of the volumes; see :class:`training.loop.Stage`."""

    def __init__(self, config: Config, volumes: Sequence[LabeledVolume], fabric: Fabric) -> None:
        self.settings, self.seed, self.fabric = config["pretraining"], config["seed"], fabric
        network = build_network(config["network"], 1, self.seed)
        optimizer = torch.optim.AdamW(
            network.parameters(), self.settings["lr"], weight_decay=self.settings["weight_decay"]
        )
        self.model, self.optimizer = fabric.setup(network, optimizer)
        outputs = len(config["structures"]) + 1
        self.patches = LabeledPatches(volumes, self.settings, outputs, self.seed)
        self.held_out = LabeledPatches(volumes, self.settings, outputs, self.seed + 1)

    def step(self, step: int) -> dict[str, float]:
        """One update."""
        s = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = s["lr"] * warmup_cosine(step, s["warmup"], s["steps"])
        loss = self._loss(self.patches, step)
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        norm = clip_gradients(self.fabric, self.model, self.optimizer, CLIP)
        self.optimizer.step()
        return {"loss": loss.item(), "lr": self.optimizer.param_groups[0]["lr"], **norm}

    @torch.no_grad()
    def validate(self, step: int, log: RunLog) -> None:
        """Log the loss of fixed patches with fixed blocks."""
        log.scalars(step, force=True, fixed_loss=self._loss(self.held_out, 0).item())

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimizer."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _loss(self, patches: LabeledPatches, step: int) -> torch.Tensor:
        image = patches.batch(step)[0]
        seed = int(micro_draws(patches.seed, step, 1).integers(2**32))
        hidden, image = (self.fabric.to_device(x) for x in (hide_blocks(image, self.settings, seed), image))
        return inpainting_loss(self.model(hidden).float(), image)


def pretrain(config: Config, name: str, volumes: Sequence[LabeledVolume], fabric: Fabric) -> dict[str, torch.Tensor]:
    """Train, or resume ``<run>/<name>.pt``, on ``volumes``; the weights of all layers but the last.

    Raises what :func:`training.loop.run_stage` raises.
    """
    stage, s = Inpainting(config, volumes, fabric), config["pretraining"]
    rhythm = Rhythm(s["steps"], s["val_every"], s["save_every"])
    run_stage(stage, name, Path(config["run"]), rhythm, fabric)
    return {key: value for key, value in stage.model.state_dict().items() if not key.startswith("out.")}
