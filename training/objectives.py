"""The training objective that belongs to a model family: how images are made noisy and what the network predicts."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from SynthCTLib.errors import InputError
from SynthCTLib.scheduler import Evaluate
from training.config import Config
from training.ddpm import Ddpm
from training.rectified_flow import RectifiedFlow
from training.times import TimeSettings


class Objective(Protocol):
    """See :class:`training.rectified_flow.RectifiedFlow` for what each of these means."""

    copy_sign: float

    def draw_times(self, count: int, voxels: int, generator: torch.Generator) -> torch.Tensor: ...

    def noisy(self, latent: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor: ...

    def target(self, latent: torch.Tensor, noise: torch.Tensor) -> torch.Tensor: ...

    def sample(
        self, evaluate: Evaluate, noise: torch.Tensor, steps: int, generator: torch.Generator
    ) -> torch.Tensor: ...


FAMILIES: dict[str, type[RectifiedFlow] | type[Ddpm]] = {"rflow": RectifiedFlow, "ddpm": Ddpm}


def build_objective(config: Config, times: TimeSettings) -> Objective:
    """The objective of ``export.card.family`` with ``export.card.scheduler``: what is trained is what is exported.

    Raises InputError for an unknown family and for scheduler settings of another one.
    """
    card: dict[str, Any] = config["export"]["card"]
    family = card["family"]
    if family not in FAMILIES:
        raise InputError(f"export.card.family is '{family}'; choose one of {', '.join(FAMILIES)}.")
    try:
        return FAMILIES[family](card["scheduler"], times)
    except TypeError as error:
        raise InputError(f"export.card.scheduler does not fit the family '{family}' ({error}); correct it.") from error
