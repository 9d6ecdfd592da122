"""What a method is to the comparison: it trains within its seconds, then makes volumes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from training.baselines.volumes import Volumes
from training.config import Config
from training.scans import Scan

Maker = Callable[[Scan, int], torch.Tensor]
"""(held-out case, seed) → volume (X, Y, Z) in 0…1; only a conditional method looks at the case's mask."""


@dataclass(frozen=True)
class Work:
    """What a method gets: its training volumes, its own ``settings``, seconds of compute, folder, seed, device."""

    volumes: Volumes
    spacing: tuple[float, float, float]
    settings: Config
    seconds: float
    folder: Path
    seed: int
    device: torch.device


@dataclass(frozen=True)
class Trained:
    """The result: how to make volumes, what the training took, and whether volumes are made from masks."""

    make: Maker
    training: dict[str, Any]
    conditional: bool = False
