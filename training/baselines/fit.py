"""One training loop for all methods: each gets the same seconds of compute, averaged weights, and goes on after a kill.

On a CPU the seconds are those of the processor, so that a busy machine takes nothing from a method.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn

from SynthCTLib.errors import InputError
from training.baselines.method import Work
from training.config import Config
from training.ema import ExponentialMovingAverage
from training.files import load_checkpoint, save_checkpoint
from training.progress import RunLog
from training.schedule import warmup_cosine

EMA = 0.99
SAVE_EVERY = 60.0  # seconds
PARTS = 1000  # of the learning rate's schedule
WARMUP = 30
SAMPLING = ("steps", "solver", "temperature")
"""Settings that say how volumes are made, not how the networks are trained."""


class Phase(Protocol):
    """Something to train.

    ``constant_rate`` keeps the optimizers' learning rates; otherwise they warm up and fall along a cosine.
    """

    name: str
    optimizers: list[torch.optim.Optimizer]
    constant_rate: bool

    @property
    def network(self) -> nn.Module:
        """All that is trained, and averaged."""
        ...

    def step(self, rng: np.random.Generator) -> dict[str, float]:
        """One update with everything random drawn from ``rng``; losses by name."""
        ...


def normal(rng: np.random.Generator, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Standard normal numbers."""
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)).to(device)


def seconds_now(device: torch.device) -> float:
    """A clock of compute: of this process on a CPU, of the wall elsewhere."""
    return time.process_time() if device.type == "cpu" else time.monotonic()


def descend(network: nn.Module, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """One update down the gradient, whose norm is cut to 1."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()


def fit(phase: Phase, work: Work, seconds: float) -> dict[str, float]:
    """Train for ``seconds`` in all, over as many runs as it takes; the network then has its averaged weights.

    ``<work.folder>/<phase.name>.pt`` always holds the newest state. Returns the ``seconds`` spent and the
    ``steps`` taken.

    Raises:
        InputError: the checkpoint was trained with other settings than ``work`` has.
    """
    path, device, seed = work.folder / f"{phase.name}.pt", work.device, work.seed
    trained_with = {k: v for k, v in work.settings.items() if k not in SAMPLING}
    trained_with |= {"seed": seed, "seconds": work.seconds, "spacing": list(work.spacing)}
    ema = ExponentialMovingAverage(phase.network, EMA)
    step, spent = _resume(phase, ema, path, trained_with)
    bases = [[group["lr"] for group in optimizer.param_groups] for optimizer in phase.optimizers]
    log = RunLog(work.folder, phase.name, round(seconds), round(spent), True)
    before, began, saved = spent, seconds_now(device), time.monotonic()
    while spent < seconds:
        factor = 1.0 if phase.constant_rate else warmup_cosine(int(PARTS * spent / seconds), WARMUP, PARTS)
        for optimizer, rates in zip(phase.optimizers, bases, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
        losses = phase.step(np.random.default_rng([seed, step]))
        ema.update(phase.network)
        step += 1
        spent = before + seconds_now(device) - began
        log.scalars(round(spent), force=False, **losses)
        if spent >= seconds or time.monotonic() - saved > SAVE_EVERY:
            _save(phase, ema, path, trained_with, step, spent, bases)
            saved = time.monotonic()
    log.close()
    phase.network.load_state_dict(ema.shadow)
    phase.network.eval()
    return {"seconds": spent, "steps": step}


def _resume(phase: Phase, ema: ExponentialMovingAverage, path: Path, trained_with: Config) -> tuple[int, float]:
    state = load_checkpoint(path)
    if state is None:
        return 0, 0.0
    if state.get("trained_with") != trained_with:
        raise InputError(
            f"{path} was trained with other settings than the config's; restore the config or choose another 'run'."
        )
    phase.network.load_state_dict(state["network"])
    ema.load_state_dict(state["ema"])
    for optimizer, stored in zip(phase.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(stored)
    return state["step"], state["seconds"]


def _save(
    phase: Phase,
    ema: ExponentialMovingAverage,
    path: Path,
    trained_with: Config,
    step: int,
    spent: float,
    bases: list[list[float]],
) -> None:
    for optimizer, rates in zip(phase.optimizers, bases, strict=True):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate  # a resumed run scales it anew
    state = {
        "network": phase.network.state_dict(),
        "ema": ema.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in phase.optimizers],
        "trained_with": trained_with,
        "step": step,
        "seconds": spent,
    }
    save_checkpoint(path, state)
