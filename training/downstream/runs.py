"""One training run of a grid of runs: trained and scored once, its result kept as a file; a killed grid goes on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.config import Config
from training.downstream.scores import Scores
from training.files import write_json
from training.provenance import commit


@dataclass(frozen=True)
class Run:
    """A place in the grid. ``share`` of the training patients of ``fold``, drawn by ``seed``."""

    seed: int
    fold: int
    share: float
    arm: str

    @property
    def name(self) -> str:
        """The run in words, as a file name."""
        return f"seed {self.seed}, fold {self.fold}, share {self.share:g}, {self.arm}"


@dataclass(frozen=True)
class RunResult:
    """Scores of a run's test cases by patient, and the commit that they were computed with."""

    run: Run
    scores: dict[str, Scores]
    commit: str


def full_grid(config: Config) -> list[Run]:
    """All runs of ``seeds``, ``test_folds``, ``shares`` and ``arms``."""
    return [
        Run(seed, fold, share, arm)
        for seed in config["seeds"]
        for fold in config["test_folds"]
        for share in config["shares"]
        for arm in config["arms"]
    ]


def fingerprint(*settings: Any) -> str:
    """Changes when any of the settings (plain values) changes."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def complete(
    grid: Sequence[Run], folder: Path, state: str, work: Callable[[Run], dict[str, Scores]]
) -> list[RunResult]:
    """The results of all runs, in order; ``work`` is called for those not yet in ``folder`` with this ``state``."""
    results, began, done = [], time.monotonic(), 0
    for number, run in enumerate(grid, 1):
        path = folder / f"{run.name}.json"
        kept = _kept(path, state)
        if kept is None:
            kept = {"state": state, "run": asdict(run), "commit": commit(), "scores": work(run)}
            write_json(path, kept)
            done += 1
            left = (time.monotonic() - began) / done * (len(grid) - number) / 60
            print(f"{number}/{len(grid)} {run.name} [{left:.0f} min left]", flush=True)
        results.append(RunResult(run, kept["scores"], kept["commit"]))
    return results


def _kept(path: Path, state: str) -> dict[str, Any] | None:
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return kept if kept["state"] == state else None
