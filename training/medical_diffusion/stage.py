"""What the family's two training stages share: one device, a checkpoint every two minutes, validation in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from lightning_fabric import Fabric

from SynthCTLib.errors import InputError
from training.config import Config
from training.files import load_checkpoint, save_checkpoint
from training.progress import RunLog

SAVE_SECONDS = 120


class Trainable(Protocol):
    """Something with a state that goes into a checkpoint."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def one_device(config: Config, precision: str) -> Fabric:
    """Fabric on one device; raises InputError for more, and for float16, in which the quantizer's input overflows."""
    if config["devices"] != 1:
        raise InputError("The stages of the Medical Diffusion family run on one device; set devices=1.")
    if precision not in ("32-true", "bf16-mixed"):
        raise InputError(f"The precision '{precision}' cannot be used here; choose 32-true or bf16-mixed.")
    fabric = Fabric(accelerator=config["accelerator"], devices=1, precision=precision)  # type: ignore[arg-type]
    fabric.launch()
    return fabric


def run_steps(
    training: Trainable,
    path: Path,
    log: RunLog,
    start: int,
    settings: Config,
    step: Callable[[int], dict[str, float]],
    validate: Callable[[int], None],
) -> None:
    """Steps ``start`` … ``settings.steps``; ``path`` always holds a whole state, from which :func:`resume` goes on."""
    last_save = time.monotonic()
    for number in range(start, settings["steps"]):
        log.scalars(number + 1, False, **step(number))
        done = number + 1 == settings["steps"]
        if done or (number + 1) % settings["val_every"] == 0:
            validate(number + 1)
        if done or number == start or time.monotonic() - last_save > SAVE_SECONDS:
            save_checkpoint(path, {**training.state_dict(), "step": number + 1})
            last_save = time.monotonic()
    log.close()


def resume(training: Trainable, path: Path) -> int:
    """Load the newest state, if there is one; returns the number of steps that have been made."""
    state = load_checkpoint(path)
    if state is None:
        return 0
    training.load_state_dict(state)
    return int(state["step"])
