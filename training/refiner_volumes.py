"""What the refiner learns from: real CTs with their masks, and what the trained model makes of the same masks.

Of each chosen latent there are two images on the same grid: *decoded*, the latent of the real CT through the decoder,
of which each voxel should become that of the real CT, and *sampled*, a CT painted from the mask, as the refiner will
meet it. Both are made once and kept in ``<run>/refiner``.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from SynthCTLib.decoder import decode_latent
from SynthCTLib.errors import InputError
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.networks import Networks
from training.config import Config
from training.files import save_latent
from training.latents import read_index
from training.model_conditions import conditioning_of
from training.subjects import sampled_latent
from training.trained_networks import denoiser_state, trained_networks

TISSUE = 0.15
"""A crop is drawn again, up to three times, unless that share of it lies in the body."""


@dataclass(frozen=True)
class Crop:
    """Images (N, 1, X, Y, Z) float32 in the unit range, ``mask`` (N, X, Y, Z) uint8."""

    real: torch.Tensor
    decoded: torch.Tensor
    sampled: torch.Tensor
    mask: torch.Tensor


@dataclass(frozen=True)
class Volume:
    """One latent of the index with the images made from it: float16 in [0, 1], and the mask, (X, Y, Z)."""

    name: str
    kind: str
    real: np.ndarray
    decoded: np.ndarray
    sampled: np.ndarray
    mask: np.ndarray

    def crop(self, box: tuple[slice, ...]) -> Crop:
        """A part of it as a batch of one."""
        real, decoded, sampled = (
            torch.from_numpy(a[box].astype(np.float32))[None, None] for a in (self.real, self.decoded, self.sampled)
        )
        return Crop(real, decoded, sampled, torch.from_numpy(self.mask[box].copy())[None])


def make_volumes(config: Config, split: str, count: int, weights: Mapping[str, float]) -> list[Volume]:
    """``count`` volumes of a split, their images made if they are not there yet.

    ``weights``: how many of each kind of case, in proportion; a kind of which there are too few is taken whole.

    Raises InputError where the latents hold no images, are of another autoencoder, or nothing is left to choose.
    """
    run = Path(config["run"])
    entries = _chosen(read_index(run)["latents"], split, count, weights, config["seed"])
    if not entries:
        raise InputError(
            f"None of the latents in {run / 'latents'} is of the split '{split}' and of a kind with a weight."
        )
    maker = _Maker(config)
    volumes, began = [], time.monotonic()
    for number, entry in enumerate(entries, 1):
        volumes.append(maker.volume(entry))
        left = (time.monotonic() - began) / number * (len(entries) - number)
        print(f"{split} {number}/{len(entries)} {entry['file']} [{left / 60:.1f} min left]", flush=True)
    return volumes


def _chosen(
    entries: list[dict[str, Any]], split: str, count: int, weights: Mapping[str, float], seed: int
) -> list[dict[str, Any]]:
    """Entries in a random order, so many of each kind as its weight says."""
    rng = np.random.default_rng(seed)
    total, chosen = sum(weights.values()), []
    for kind, weight in weights.items():
        own = [entry for entry in entries if entry["split"] == split and entry["kind"] == kind]
        order = rng.permutation(len(own))
        chosen += [own[i] for i in order[: round(count * weight / total)]]
    return chosen


class _Maker:
    """Makes the images of latents with the run's networks, which are loaded when first needed."""

    def __init__(self, config: Config) -> None:
        self.config, self.run = config, Path(config["run"])
        self.conditioning = conditioning_of(config["network"])
        self.card = config["export"]["card"]
        self._networks: Networks | None = None
        known = [self.card["defaults"], self.card["scheduler"], denoiser_state(self.run)]
        self.state = json.dumps(known, sort_keys=True)

    @property
    def networks(self) -> Networks:
        """The trained networks without refiner."""
        if self._networks is None:
            self._networks = trained_networks(self.config)
        return self._networks

    def volume(self, entry: Mapping[str, Any]) -> Volume:
        """The volume of an entry of the index."""
        source = self.run / "latents" / entry["file"]
        with np.load(source) as data:
            if "image" not in data:
                raise InputError(f"The latents of {self.run} have no images: run 'encode' with encode.images=true.")
            latent, mask, spacing, real = (data[key] for key in ("latent", "mask", "spacing", "image"))
        stat = source.stat()
        state = hashlib.sha256(f"{self.state} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()
        path = self.run / "refiner" / entry["file"]
        made = _kept(path, state)
        if made is None:
            made = self._make(latent, mask, spacing, entry["file"])
            save_latent(path, **made, state=np.array(state))
        return Volume(entry["file"], entry["kind"], real, made["decoded"], made["sampled"], mask)

    def _make(self, latent: np.ndarray, mask: np.ndarray, spacing: np.ndarray, name: str) -> dict[str, np.ndarray]:
        """``decoded`` and ``sampled`` (X, Y, Z) float16 in [0, 1]; the seed is made of the name."""
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") // 2
        networks = self.networks
        sampled = sampled_latent(
            networks, self.conditioning, self.card["scheduler"], self.card["defaults"], mask, spacing, seed
        )
        known = torch.from_numpy(latent.astype(np.float32))[None]
        return {
            "decoded": decode_latent(networks.autoencoder, known, 1.0).astype(np.float16),
            "sampled": decode_latent(networks.autoencoder, sampled, networks.scale_factor).astype(np.float16),
        }


def _kept(path: Path, state: str) -> dict[str, np.ndarray] | None:
    """The images of an earlier run, if they were made of the same latents, weights and settings."""
    if not path.is_file():
        return None
    with np.load(path) as data:
        return {key: data[key] for key in ("decoded", "sampled")} if str(data["state"]) == state else None


class CropSampler:
    """Draws crops of one side from volumes; each volume is drawn as often as any other.

    Mirrored crops keep their ids: left and right have the same densities.
    """

    def __init__(self, volumes: list[Volume], side: int, lesion_crops: float) -> None:
        """``lesion_crops``: share of the crops that are centered on a lesion where the volume has one."""
        small = [volume.name for volume in volumes if min(volume.mask.shape) < side]
        if small:
            raise InputError(f"{small[0]} is smaller than the crop of {side} voxels; choose a smaller refiner.patch.")
        self.volumes, self.side, self.lesion_crops = volumes, side, lesion_crops
        lesions = [label.id for label in load_vocabulary().lesions()]
        self.lesions = [np.argwhere(np.isin(volume.mask, lesions)) for volume in volumes]

    def batch(self, count: int, rng: np.random.Generator) -> Crop:
        """``count`` crops, each mirrored along X half of the time; ``rng`` alone decides which."""
        crops = [self._one(rng) for _ in range(count)]
        return Crop(
            *(torch.cat([getattr(crop, name) for crop in crops]) for name in ("real", "decoded", "sampled", "mask"))
        )

    def _one(self, rng: np.random.Generator) -> Crop:
        number = int(rng.integers(len(self.volumes)))
        volume = self.volumes[number]
        box = self._box(volume.mask, self.lesions[number], rng)
        if rng.random() < 0.5:
            return volume.crop(box)
        mirrored = volume.crop(box)
        return Crop(*(t.flip(-3) for t in (mirrored.real, mirrored.decoded, mirrored.sampled, mirrored.mask)))

    def _box(self, mask: np.ndarray, lesions: np.ndarray, rng: np.random.Generator) -> tuple[slice, ...]:
        room = [n - self.side for n in mask.shape]
        if len(lesions) and rng.random() < self.lesion_crops:
            middle = lesions[rng.integers(len(lesions))]
            start = [int(np.clip(m - self.side // 2, 0, r)) for m, r in zip(middle, room, strict=True)]
            return tuple(slice(a, a + self.side) for a in start)
        for _ in range(3):
            box = tuple(slice(a, a + self.side) for a in (int(rng.integers(0, r + 1)) for r in room))
            if (mask[box] > 0).mean() > TISSUE:
                break
        return box
