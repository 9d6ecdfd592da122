"""The run's record: TensorBoard scalars and pictures, one plain line every few seconds with the time left."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter


class RunLog:
    """Averages scalars between lines; ``force`` writes at once (validation). Only the first process is ``active``."""

    def __init__(self, run: Path, stage: str, total: int, start: int, active: bool, every: float = 20.0) -> None:
        self.stage, self.total, self.start, self.every = stage, total, start, every
        folder = str(Path(run) / "tensorboard" / stage)
        # A run that was killed has logged steps after its last checkpoint, which now come again.
        self.writer = SummaryWriter(folder, purge_step=start + 1) if active else None
        self.sums: dict[str, list[float]] = defaultdict(list)
        self.began = self.last = time.monotonic()

    def scalars(self, step: int, force: bool = False, **values: float) -> None:
        """Collect values; print and store their means every ``every`` seconds."""
        if self.writer is None:
            return
        if force:
            means = values
        else:
            for key, value in values.items():
                self.sums[key].append(value)
            if time.monotonic() - self.last < self.every:
                return
            means = {k: sum(v) / len(v) for k, v in self.sums.items()}
            self.sums.clear()
            self.last = time.monotonic()
        for key, value in means.items():
            self.writer.add_scalar(key, value, step)
        pace = (time.monotonic() - self.began) / max(1, step - self.start)
        left = pace * (self.total - step) / 60
        text = " ".join(f"{k}={v:.4g}" for k, v in means.items())
        print(f"{self.stage} step {step}/{self.total} {text} [{pace:.2f} s/step, {left:.0f} min left]", flush=True)

    def images(self, step: int, name: str, rows: list[torch.Tensor]) -> None:
        """One picture: each row is (N, H, W) in [0, 1], laid side by side."""
        if self.writer is None:
            return
        grid = torch.cat([torch.cat([im.T.flip(0) for im in row], dim=1) for row in rows], dim=0)
        self.writer.add_image(name, grid.float().clamp(0, 1)[None].cpu(), step)
        self.writer.flush()

    def close(self) -> None:
        """Flush and close."""
        if self.writer is not None:
            self.writer.close()
