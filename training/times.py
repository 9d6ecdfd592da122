"""Where training looks along the way from image to noise: times in [0, 1), 0 the image and 1 pure noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class TimeSettings:
    """How times are drawn.

    ``method``: *uniform* as in MAISI's recipe; *stratified*, uniform as well, but one small batch covers the whole
    range; *logit-normal*, the logistic function of a normal variable with mean ``loc`` and deviation ``scale`` (Esser
    et al., arXiv 2403.03206, section 3.1, equation 19), which looks more often halfway. ``transform``: rectified flow
    only, moves times of large volumes toward noise (MONAI's ``use_timestep_transform``).
    """

    method: str = "stratified"
    transform: bool = False
    loc: float = 0.0
    scale: float = 1.0


def draw_unit_times(settings: TimeSettings, count: int, generator: torch.Generator) -> torch.Tensor:
    """(count,) times in [0, 1)."""
    if settings.method == "logit-normal":
        normal = settings.loc + settings.scale * torch.randn(count, generator=generator)
        return torch.sigmoid(normal)
    drawn = torch.rand(count, generator=generator)
    return drawn if settings.method == "uniform" else (torch.arange(count) + drawn) / count
