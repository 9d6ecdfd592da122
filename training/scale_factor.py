"""The one number that brings latents to unit variance: computed once over the training set, then kept.

A diffusion model has learned latents of one scale. Who fine-tunes it with another one, as a factor recomputed from new
data or from the first batch would be, makes it unlearn what it knows; so fine-tuning takes the factor over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from SynthCTLib.checkpoint import SCALE_FACTOR, read_checkpoint
from SynthCTLib.errors import InputError
from training.config import Config

Sums = tuple[float, float, int]
"""Sum, sum of squares and number of latent values."""


def settled_scale_factor(config: Config, setting: float | str | None, index: dict[str, Any]) -> float | None:
    """The factor that is to be used, or None if it has to be computed.

    Args:
        setting: ``encode.scale_factor``: a number, a file, "compute", or None.
        index: ``latents/index.json`` of an earlier run with the same autoencoder, empty if there is none.

    Raises InputError if the file holds none, or if an autoencoder is fine-tuned and nothing says which factor to keep.
    """
    if isinstance(setting, str) and setting != "compute":
        return read_scale_factor(Path(setting))
    if isinstance(setting, int | float):
        return float(setting)
    if SCALE_FACTOR in index:
        return float(index[SCALE_FACTOR])
    if setting is None and config.get("autoencoder", {}).get("start_from"):
        raise InputError(
            "The autoencoder was fine-tuned, so the scale factor of the model it came from has to be kept: set "
            "encode.scale_factor to its diffusion checkpoint, its card or the number (or to 'compute', if a new "
            "diffusion model will be trained)."
        )
    return None


def read_scale_factor(path: Path) -> float:
    """The factor in a model card or an index of latents (JSON), or in a diffusion checkpoint as it was released.

    Raises InputError if there is none, ModelError if a checkpoint cannot be read.
    """
    if not path.is_file():
        raise InputError(f"encode.scale_factor names {path}, which is no file; give a file or a number.")
    if path.suffix == ".json":
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content.get("latent", content).get(SCALE_FACTOR)
    else:
        found = read_checkpoint(path).scale_factor
    if found is None:
        raise InputError(f"{path} holds no scale factor; NVIDIA's is in the diffusion checkpoint.")
    return float(found)


def scale_factor_of(sums: Iterable[Sums]) -> float:
    """1 / standard deviation of all latent values together. Raises InputError if there are none, or all are equal."""
    total, squares, count = (sum(part) for part in zip(*sums, strict=True))
    variance = squares / count - (total / count) ** 2 if count else 0.0
    if variance <= 0:
        raise InputError("The latents do not vary, so they have no scale factor: train the autoencoder first.")
    return variance**-0.5
