"""How numbers of the downstream experiments are written in their page."""

from __future__ import annotations

import re
from typing import Any


def percent(share: str) -> str:
    """``0.25`` → ``25 %``."""
    return f"{100 * float(share):g} %"


def value_text(value: dict[str, Any]) -> str:
    """Mean and 95 % interval."""
    low, high = value["interval_95"]
    return f"{value['mean']:.3f} ({low:.3f}-{high:.3f})"


def short_commit(told: str) -> str:
    """What :func:`training.provenance.commit` tells, the hash with 12 of its 40 digits."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{28}\b", r"\1", told)
