"""A segmentation network of MONAI: random patches, cross-entropy + Dice, AdamW, and its answer for a whole volume."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import monai.networks.nets
import numpy as np
import torch
from lightning_fabric import Fabric
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss
from monai.transforms import ClassesToIndices, RandCropByLabelClassesd, SpatialPadd
from torch import nn

from SynthCTLib.errors import InputError, SynthCTError
from training.downstream.augmentation import Augmentation
from training.downstream.cases import LabeledVolume
from training.downstream.scores import Scores, score
from training.intensities import hu_to_unit
from training.loop import clip_gradients
from training.schedule import warmup_cosine
from training.step_draws import micro_draws

CLIP = 1.0  # norm of gradients


def build_network(settings: Mapping[str, Any], outputs: int, seed: int) -> nn.Module:
    """The network of MONAI that ``settings["name"]`` names, with the other settings as its arguments.

    Raises InputError for a name that MONAI does not have.
    """
    arguments = {key: value for key, value in settings.items() if key != "name"}
    kind = getattr(monai.networks.nets, settings["name"], None)
    if kind is None:
        raise InputError(f"MONAI has no network '{settings['name']}'; use for example UNet, SegResNet or SwinUNETR.")
    torch.manual_seed(seed)
    return kind(**arguments, out_channels=outputs)


def unit_image(volume: LabeledVolume) -> torch.Tensor:
    """(1, X, Y, Z) in [0, 1]: −1000 … 1000 HU."""
    return hu_to_unit(torch.from_numpy(volume.hu.astype(np.float32)))[None]


class LabeledPatches:
    """Draws patches around a random voxel of a random class (background included) from random volumes, augmented."""

    def __init__(self, volumes: Sequence[LabeledVolume], settings: Mapping[str, Any], outputs: int, seed: int) -> None:
        """``settings``: ``patch`` in voxels, ``batch``, ``augmentation``. ``outputs``: number of classes."""
        self.size, self.seed = settings["batch"], seed
        self.augmentation = Augmentation(settings["augmentation"])
        pad = SpatialPadd(("image", "classes"), settings["patch"])
        indices = ClassesToIndices(num_classes=outputs)
        self.items = []
        for volume in volumes:
            item = pad({"image": unit_image(volume), "classes": torch.from_numpy(volume.classes)[None]})
            self.items.append({**item, "indices": indices(item["classes"])})
        self.crop = RandCropByLabelClassesd(
            ("image", "classes"), "classes", settings["patch"], num_classes=outputs, indices_key="indices"
        )

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 1, …) image in the unit range and classes; what is drawn depends on seed and step only.

        Sets torch's global random state, from which the augmentation draws.
        """
        rng = micro_draws(self.seed, step, 0)
        torch.manual_seed(int(rng.integers(2**32)))
        self.crop.set_random_state(int(rng.integers(2**32)))
        images, classes = zip(*(self._one(rng) for _ in range(self.size)), strict=True)
        return torch.stack(images), torch.stack(classes)

    def _one(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        patch = self.crop(self.items[rng.integers(len(self.items))])[0]
        image, classes = (torch.as_tensor(patch[key]).as_subclass(torch.Tensor) for key in ("image", "classes"))
        return self.augmentation(image, classes)


def train_segmenter(
    network: nn.Module,
    volumes: Sequence[LabeledVolume],
    settings: Mapping[str, Any],
    outputs: int,
    steps: int,
    seed: int,
    fabric: Fabric,
) -> nn.Module:
    """Train ``network``, which tells ``outputs`` classes apart; returned in evaluation mode, set up by ``fabric``.

    ``settings``: ``patch``, ``batch``, ``lr``, ``warmup``, ``weight_decay``, ``augmentation``, ``background_weight``
    (that of other classes is 1).

    Raises:
        SynthCTError: the loss or the norm of its gradients is no finite number.
    """
    optimizer = torch.optim.AdamW(network.parameters(), settings["lr"], weight_decay=settings["weight_decay"])
    model, optimizer = fabric.setup(network, optimizer)
    weight = fabric.to_device(torch.tensor([settings["background_weight"]] + [1.0] * (outputs - 1)))
    # Over the batch: in many patches of one volume a small structure does not occur.
    loss = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True, weight=weight)
    patches = LabeledPatches(volumes, settings, outputs, seed)
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = settings["lr"] * warmup_cosine(step, settings["warmup"], steps)
        image, classes = (fabric.to_device(batch) for batch in patches.batch(step))
        value = loss(model(image).float(), classes)
        _require_finite({"loss": value.item()}, step)
        optimizer.zero_grad(set_to_none=True)
        fabric.backward(value)
        _require_finite(clip_gradients(fabric, model, optimizer, CLIP), step)
        optimizer.step()
    return model.eval()


def _require_finite(scalars: Mapping[str, float], step: int) -> None:
    for name, value in scalars.items():
        if not math.isfinite(value):
            raise SynthCTError(f"The {name} of the segmenter is no finite number in step {step}; use a smaller lr.")


@torch.no_grad()
def segment(model: nn.Module, volume: LabeledVolume, window: Sequence[int], fabric: Fabric) -> np.ndarray:
    """(X, Y, Z) uint8 classes. ``window``: voxels that the network sees at once; 0 is the whole axis."""
    image = fabric.to_device(unit_image(volume)[None])
    logits = sliding_window_inference(image, window, 1, model, overlap=0.25)
    return torch.as_tensor(logits).argmax(1)[0].to(torch.uint8).cpu().numpy()


def scores_of(
    model: nn.Module, cases: Sequence[LabeledVolume], config: Mapping[str, Any], fabric: Fabric
) -> dict[str, Scores]:
    """Scores of every case by patient. ``config``: ``structures``, ``tolerance_mm`` and ``training.window``."""
    structures, window = list(config["structures"]), config["training"]["window"]
    return {
        case.patient: score(
            segment(model, case, window, fabric), case.classes, structures, case.spacing, config["tolerance_mm"]
        )
        for case in cases
    }
