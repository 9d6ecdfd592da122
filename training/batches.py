"""What one micro-batch shows the denoiser: crops or whole volumes of one size, their masks and conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from SynthCTLib.errors import InputError
from SynthCTLib.labels import load_vocabulary
from training.denoiser_settings import DenoiserSettings, Size
from training.label_dropout import drop_labels
from training.latents import LatentSet
from training.model_conditions import class_label, condition_tensors, region_of
from training.region_removal import remove_regions
from training.step_draws import micro_draws, shared_draws


@dataclass(frozen=True)
class Batch:
    """``latent`` (B, C, x, y, z), scaled to unit variance; ``mask`` (B, 4x, 4y, 4z) uint8; ``conditions`` (B, …).

    ``without``: the masks without the structures of the contrastive loss; equal to ``mask`` where there are none.
    """

    latent: torch.Tensor
    mask: torch.Tensor
    without: torch.Tensor
    conditions: dict[str, torch.Tensor]


class BatchSampler:
    """Draws batches by seed, step and micro-batch.

    All micro-batches of a step have one size, on all processes: with ``crops`` a list, one of these sizes; with
    ``"whole"``, the size of one bucket of volumes, chosen as often as the volumes in it would be (MAISI-v2, arXiv
    2508.05772, section "Training Strategy": bucketed data parallelism). Sides are cut to multiples of what the U-Net
    can halve.
    """

    def __init__(
        self,
        latents: LatentSet,
        settings: DenoiserSettings,
        conditioning: Mapping[str, Any],
        seed: int,
        multiple: int,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        """``multiple``: of all sides, in latent voxels. ``weights``: how often each kind of case is drawn; None draws
        all kinds equally often.

        Raises InputError for a size that the U-Net cannot take, and where the weights leave nothing to draw.
        """
        self.latents, self.settings, self.conditioning, self.seed = latents, settings, conditioning, seed
        self.probability = _probabilities([entry.kind for entry in latents.entries], weights)
        self.shapes = [_cut(entry.shape, multiple) for entry in latents.entries]
        _check_sizes(self.shapes, settings.crops, multiple)
        self.lesions = [label.id for label in load_vocabulary().lesions()]
        self.contrasted = settings.contrasted_ids()

    def draw(self, step: int, micro: int = 0) -> Batch:
        """The batch of that step and place; the same arguments give the same batch in any process."""
        size, probability = self._size(shared_draws(self.seed, step))
        rng = micro_draws(self.seed, step, micro)
        chosen = rng.choice(len(probability), self.settings.batch, p=probability)
        parts = [self._crop(number, size, rng) for number in chosen]
        tensors = {name: torch.cat([getattr(p, name) for p in parts]) for name in ("latent", "mask", "without")}
        names = parts[0].conditions
        return Batch(**tensors, conditions={name: torch.cat([p.conditions[name] for p in parts]) for name in names})

    def _size(self, rng: np.random.Generator) -> tuple[Size, np.ndarray]:
        """The size of this step and how likely each volume is to be drawn for it."""
        crops = self.settings.crops
        if crops == "whole":
            size = self.shapes[rng.choice(len(self.shapes), p=self.probability)]
            fits = np.array([shape == size for shape in self.shapes])
        else:
            size = crops[rng.integers(len(crops))]
            # A single volume smaller than the crop is taken as it is; several need one size.
            fits = np.array([self.settings.batch == 1 or _holds(shape, size) for shape in self.shapes])
        probability = self.probability * fits
        if not probability.any():
            raise InputError(
                f"No latent is as large as the crop {'×'.join(map(str, size))}; choose smaller crops or 'batch' 1."
            )
        return size, probability / probability.sum()

    def _crop(self, number: int, size: Size, rng: np.random.Generator) -> Batch:
        entry = self.latents.entries[number]
        latent, mask, spacing = self.latents.read(entry)
        extent = [min(s, n) for s, n in zip(size, self.shapes[number], strict=True)]
        start = self._start(mask, extent, latent.shape[1:], rng)
        box = tuple(slice(a, a + s) for a, s in zip(start, extent, strict=True))
        coarse = latent[(slice(None), *box)].astype(np.float32) * self.latents.scale_factor
        fine = mask[tuple(slice(4 * b.start, 4 * b.stop) for b in box)]
        region = region_of(fine, entry.region, entry.case) if self.conditioning["body_region"] else None
        known = class_label(entry.modality)
        label = 0 if rng.random() < self.settings.class_dropout else known
        conditions = condition_tensors(self.conditioning, spacing.tolist(), region, label)
        fine = drop_labels(fine, self.settings.label_dropout, rng)
        without = remove_regions(fine, self.contrasted)
        arrays = {"latent": coarse, "mask": fine, "without": without}
        tensors = {name: torch.from_numpy(array.copy())[None] for name, array in arrays.items()}
        return Batch(**tensors, conditions=conditions)

    def _start(
        self, mask: np.ndarray, extent: Sequence[int], shape: Sequence[int], rng: np.random.Generator
    ) -> list[int]:
        """Corner of a crop in latent voxels: around a lesion at times, else within the body if three tries find it."""
        room = [n - s for s, n in zip(extent, shape, strict=True)]
        if rng.random() < self.settings.lesion_crops:
            places = np.argwhere(np.isin(mask, self.lesions))
            if len(places):
                middle = places[rng.integers(len(places))] // 4
                return [int(np.clip(m - s // 2, 0, r)) for m, s, r in zip(middle, extent, room, strict=True)]
        for _ in range(3):
            start = [int(rng.integers(0, r + 1)) for r in room]
            inside = mask[tuple(slice(4 * a, 4 * (a + s)) for a, s in zip(start, extent, strict=True))]
            if (inside > 0).mean() > 0.15:
                break
        return start


def _cut(shape: Size, multiple: int) -> Size:
    x, y, z = (n // multiple * multiple for n in shape)
    return x, y, z


def _check_sizes(shapes: Sequence[Size], crops: Sequence[Size] | str, multiple: int) -> None:
    """Raise InputError for a crop or volume that the U-Net, which halves it at each level, cannot take."""
    if any(0 in shape for shape in shapes):
        raise InputError(
            f"A latent is smaller than {multiple} voxels along a side, the least that this U-Net takes; leave its case "
            "out, or encode it at a smaller spacing."
        )
    bad = [] if isinstance(crops, str) else [size for size in crops if size != _cut(size, multiple)]
    if bad:
        raise InputError(
            f"The U-Net takes sizes that are multiples of {multiple}, and {'×'.join(map(str, bad[0]))} is none; change "
            "'crops' or network.unet.num_channels."
        )


def _holds(shape: Size, size: Size) -> bool:
    return all(n >= s for n, s in zip(shape, size, strict=True))


def _probabilities(kinds: list[str], weights: Mapping[str, float] | None) -> np.ndarray:
    """How likely each volume is to be drawn, from the weights of the kinds; kinds without a latent are passed over."""
    weights = dict.fromkeys(kinds, 1.0) if weights is None else weights
    probability = np.array([weights.get(kind, 0.0) / kinds.count(kind) for kind in kinds])
    if not probability.sum() > 0:
        raise InputError(
            f"'weights' leaves no latent to draw; there are latents of the kinds {', '.join(sorted(set(kinds)))}: give "
            "at least one of them a weight above 0."
        )
    return probability / probability.sum()
