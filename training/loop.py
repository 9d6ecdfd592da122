"""The loop that training stages share: step, log, validate, save; a run that was killed goes on as if it never was.

What makes that true: a checkpoint holds everything that changes (weights, averages, optimizers, loss scaler), it is
written beside and renamed, and what a step draws depends on seed and step alone (:mod:`training.step_draws`).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import nn

from SynthCTLib.device import memory_advice
from SynthCTLib.errors import InputError, ModelError, SynthCTError
from training.config import Config
from training.files import load_checkpoint, save_checkpoint
from training.progress import RunLog


class Stage(Protocol):
    """What is trained: networks, optimizers and data of one stage."""

    def step(self, step: int) -> dict[str, float]:
        """One update of the weights, the ``step``-th from 0; returns what is logged."""

    def validate(self, step: int, log: RunLog) -> None:
        """Measure held-out data after ``step`` updates; called in the first process only."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that :meth:`step` changes, as tensors and plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave. Raises RuntimeError or KeyError if it belongs to other networks."""


@dataclass(frozen=True)
class Rhythm:
    """Number of steps; steps between validations; seconds between checkpoints, and steps that always get one."""

    steps: int
    val_every: int
    save_every: float = 120.0
    save_at: tuple[int, ...] = ()


def start_fabric(config: Config, precision: str | None = None, **options: Any) -> Fabric:
    """Processes and devices as the config's ``accelerator``, ``devices``, ``num_nodes`` and ``precision`` say.

    ``options``: further ones of Lightning Fabric. Random states are seeded with ``seed``. Raises InputError where the
    machine or Fabric does not have what is asked for.
    """
    wanted: Any = precision or config["precision"]
    try:
        fabric = Fabric(
            accelerator=config["accelerator"],
            devices=config["devices"],
            num_nodes=config.get("num_nodes", 1),
            precision=wanted,
            **options,
        )
    except (RuntimeError, ValueError, TypeError) as error:
        raise InputError(f"'accelerator', 'devices' or 'precision' of the config do not work here: {error}") from error
    fabric.launch()
    fabric.seed_everything(config["seed"], verbose=False)
    return fabric


def clip_gradients(fabric: Fabric, network: nn.Module, optimizer: Any, limit: float) -> dict[str, float]:
    """Cut the norm of the network's gradients to ``limit``; the norm they had, as what is logged of a step.

    A norm that is not finite makes every weight NaN, which this step's loss does not show: :func:`run_stage` stops at
    it before it saves. Empty where losses are scaled (16-mixed) and such a norm is how the scale is found: the step is
    skipped then.
    """
    norm = fabric.clip_gradients(network, optimizer, max_norm=limit, error_if_nonfinite=False)
    if norm is None or (not norm.isfinite() and fabric.strategy.precision.state_dict()):
        return {}
    return {"gradient_norm": float(norm)}


def run_stage(stage: Stage, name: str, run: Path, rhythm: Rhythm, fabric: Fabric) -> None:
    """Train to the last step, from ``<run>/<name>.pt`` on where there is one.

    With no steps at all, what the stage starts from is measured once and saved as the checkpoint of step 0.

    Raises:
        InputError: no steps are asked for, and the checkpoint holds other weights than the stage starts from.
        ModelError: the checkpoint belongs to networks of another shape.
        ResourceError: memory ran out.
        SynthCTError: a loss or a norm of gradients is no finite number; the last checkpoint stays as it was.
    """
    path = run / f"{name}.pt"
    start = _handed_on(stage.state_dict()) if rhythm.steps == 0 else {}
    saved = _resume(stage, path, fabric)
    if rhythm.steps == 0 and saved is not None:
        _require_start(stage, start, saved, path)
    step = saved or 0
    log = RunLog(run, name, rhythm.steps, step, fabric.is_global_zero)
    last_save = time.monotonic()
    with memory_advice(f"Memory does not suffice for the stage '{name}': choose smaller patches or a smaller batch."):
        if rhythm.steps == 0 and saved is None:
            _validate(stage, step, log, fabric)
            _save(stage, path, step, fabric)
        while step < rhythm.steps:
            scalars = stage.step(step)
            step += 1
            _require_finite(scalars, name, step)
            log.scalars(step, force=False, **scalars)
            if step % rhythm.val_every == 0 or step == rhythm.steps:
                _validate(stage, step, log, fabric)
            due = time.monotonic() - last_save >= rhythm.save_every
            if due or step in (*rhythm.save_at, rhythm.steps):
                _save(stage, path, step, fabric)
                last_save = time.monotonic()
    log.close()


def _handed_on(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Copies of what later stages take from a stage's state: its network and the average of that; no critic."""
    parts = {"model": state.get("model", {}), "ema": state.get("ema", {}).get("shadow", {})}
    return {f"{name}.{key}": value.clone() for name, part in parts.items() for key, value in part.items()}


def _require_start(stage: Stage, start: dict[str, torch.Tensor], saved: int, path: Path) -> None:
    """Raise InputError where a stage that takes weights as they are would go on with others."""
    found = _handed_on(stage.state_dict())
    if saved == 0 and all(torch.equal(found[key], value) for key, value in start.items()):
        return
    what = f"was trained for {saved} steps" if saved else "holds other weights than this stage starts from"
    raise InputError(f"{path} {what}, and 'steps' is 0; choose another 'run', or move that file away.")


def _validate(stage: Stage, step: int, log: RunLog, fabric: Fabric) -> None:
    """Measure in the first process, while the others wait."""
    if fabric.is_global_zero:
        stage.validate(step, log)
    fabric.barrier()


def _save(stage: Stage, path: Path, step: int, fabric: Fabric) -> None:
    """Write the checkpoint of the state after ``step`` updates, in the first process."""
    if fabric.is_global_zero:
        scaler = fabric.strategy.precision.state_dict()
        save_checkpoint(path, {**stage.state_dict(), "scaler": scaler, "step": step})


def _resume(stage: Stage, path: Path, fabric: Fabric) -> int | None:
    """The step to go on from, with the stage's state restored; None where there is no checkpoint."""
    state = load_checkpoint(path)
    if state is None:
        return None
    try:
        stage.load_state_dict(state)
    except (RuntimeError, KeyError, ValueError) as error:
        raise ModelError(
            f"{path} is of other networks than the config describes; restore the config or choose another 'run'."
        ) from error
    if state.get("scaler"):
        fabric.strategy.precision.load_state_dict(state["scaler"])
    return int(state["step"])


def _require_finite(scalars: dict[str, float], name: str, step: int) -> None:
    broken = [key for key, value in scalars.items() if not math.isfinite(value)]
    if broken:
        raise SynthCTError(
            f"In step {step} of the stage '{name}', {broken[0]} is no finite number; run it again from its last "
            "checkpoint with a smaller learning rate or precision=32-true."
        )
