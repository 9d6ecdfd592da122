"""Random intensity patches for the autoencoder: crop, zoom, flip; balanced over collections, not over volumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F


def hu_to_unit(hu: torch.Tensor, low: float = -1000.0, high: float = 1000.0) -> torch.Tensor:
    """Map HU to [0, 1] (MAISI, section 4.1: clip to [-1000, 1000])."""
    return (hu.clamp(low, high) - low) / (high - low)


class PatchSampler:
    """Draws batches (N, 1, P, P, P) in [0, 1] from prepared cases."""

    def __init__(self, prepared: Path, cases: list[dict], weights: dict[str, float], patch: int, seed: int) -> None:
        self.patch = patch
        self.rng = np.random.default_rng(seed)
        self.volumes = [np.load(Path(prepared) / c["case_id"] / "ct.npy", mmap_mode="r") for c in cases]
        groups = [c["group"] for c in cases]
        share = np.array([weights.get(g, weights.get("other", 1.0)) for g in groups], float)
        kinds = [g if g in weights else "other" for g in groups]
        counts = np.array([kinds.count(k) for k in kinds], float)
        self.probability = share / counts / (share / counts).sum()

    def batch(self, size: int) -> torch.Tensor:
        """One batch of augmented patches."""
        return torch.stack([self._one() for _ in range(size)])

    def _one(self) -> torch.Tensor:
        rng, p = self.rng, self.patch
        volume = self.volumes[rng.choice(len(self.volumes), p=self.probability)]
        side = max(8, round(p * rng.uniform(0.75, 1.5)))
        for _ in range(4):  # mostly tissue: air alone teaches nothing
            start = [int(rng.integers(0, max(n - side, 0) + 1)) for n in volume.shape]
            crop = np.asarray(volume[tuple(slice(s, s + side) for s in start)], np.float32)
            if (crop > -300).mean() > 0.25:
                break
        pad = [(0, max(0, side - n)) for n in crop.shape]
        crop = np.pad(crop, pad, constant_values=-1000.0)
        x = hu_to_unit(torch.from_numpy(crop)[None, None])
        if side != p:
            x = F.interpolate(x, size=(p, p, p), mode="trilinear", align_corners=False, antialias=False)
        flips = [axis + 2 for axis in range(3) if rng.random() < 0.5]
        if flips:
            x = x.flip(flips)
        return x[0]
