"""Random crops of encoded latents with their masks; kinds of cases are drawn by weight, so that labeled ones count."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch


@dataclass(frozen=True)
class LatentCrop:
    """``latent`` (1, 4, x, y, z), scaled to unit variance; ``mask`` (1, 4x, 4y, 4z) uint8; ``spacing`` (1, 3) mm."""

    latent: torch.Tensor
    mask: torch.Tensor
    spacing: torch.Tensor


class LatentSampler:
    """Draws crops from the latents of one split."""

    def __init__(
        self,
        folder: Path,
        split: str,
        weights: dict[str, float],
        crops: list[list[int]],
        droppable: np.ndarray,
        seed: int,
    ) -> None:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        self.scale_factor = float(index["scale_factor"])
        entries = [e for e in index["latents"] if e["split"] == split]
        kinds = [e["kind"] for e in entries]
        self.probability = np.array([weights.get(k, 0.0) / kinds.count(k) for k in kinds])
        self.probability /= self.probability.sum()
        self.items = []
        for entry in entries:
            with np.load(folder / entry["file"]) as data:
                self.items.append((data["latent"], data["mask"], data["spacing"]))
        self.crops, self.droppable = crops, droppable
        self.rng = np.random.default_rng(seed)

    def draw(self) -> LatentCrop:
        """One random crop; sometimes a few organs are handed over to the body label, as users leave organs out."""
        rng = self.rng
        latent, mask, spacing = self.items[rng.choice(len(self.items), p=self.probability)]
        size = self.crops[rng.integers(len(self.crops))]
        size = [min(s, n) for s, n in zip(size, latent.shape[1:], strict=True)]
        for _ in range(3):
            start = [int(rng.integers(0, n - s + 1)) for s, n in zip(size, latent.shape[1:], strict=True)]
            fine = mask[tuple(slice(4 * a, 4 * (a + s)) for a, s in zip(start, size, strict=True))]
            if (fine > 0).mean() > 0.15:
                break
        coarse = latent[(slice(None), *(slice(a, a + s) for a, s in zip(start, size, strict=True)))]
        fine = fine.copy()
        if rng.random() < 0.2:
            present = np.intersect1d(np.unique(fine), self.droppable)
            gone = present[rng.random(len(present)) < 0.3]
            fine[np.isin(fine, gone)] = 200
        return LatentCrop(
            torch.from_numpy(coarse.astype(np.float32) * self.scale_factor)[None],
            torch.from_numpy(fine)[None],
            torch.from_numpy(spacing)[None],
        )
