"""Exponential moving average of weights, without the bias of the first steps (EDM2, arXiv 2312.02696, section 3)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class ExponentialMovingAverage:
    """Keeps a shadow copy of a module's parameters and buffers; decay ramps up as (1+n)/(10+n)."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.shadow = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the shadow toward the module's present weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for key, value in module.state_dict().items():
            if value.dtype.is_floating_point:
                self.shadow[key].lerp_(value.to(self.shadow[key].device), 1 - decay)
            else:
                self.shadow[key].copy_(value)

    @contextmanager
    def applied_to(self, module: nn.Module) -> Iterator[None]:
        """Use the averaged weights inside the block, then restore the module's own."""
        own = {k: v.detach().clone() for k, v in module.state_dict().items()}
        module.load_state_dict(self.shadow)
        try:
            yield
        finally:
            module.load_state_dict(own)

    def state_dict(self) -> dict[str, Any]:
        """Shadow weights and the number of updates."""
        return {"shadow": self.shadow, "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave, on the device where the weights were. Raises KeyError for others."""
        self.shadow = {key: state["shadow"][key].to(value.device) for key, value in self.shadow.items()}
        self.updates = state["updates"]
