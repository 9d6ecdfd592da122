"""The config's sections *diffusion* and *controlnet*, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from SynthCTLib.errors import InputError
from SynthCTLib.labels import load_vocabulary
from training.config import Config
from training.label_dropout import DropoutSettings
from training.region_contrast import ContrastSettings
from training.settings import read_settings
from training.times import TimeSettings

Size = tuple[int, int, int]


@dataclass(frozen=True)
class DenoiserSettings:
    """What a stage of the denoiser can be told; each key is described in ``schemas/denoiser.schema.json``."""

    steps: int
    lr: float
    warmup: int
    weight_decay: float
    ema: float
    air_weight: float
    bone_weight: float
    accumulate: int
    draws: int
    crops: tuple[Size, ...] | Literal["whole"]
    weights: Mapping[str, float] | None
    class_dropout: float
    val_every: int
    val_crops: int
    train_unet: bool = True
    batch: int = 1
    decay: str = "cosine"
    clip: float = 1.0
    loss: str = "mse"
    start: str = "copy"
    start_from: str = ""
    save_seconds: float = 120.0
    lesion_crops: float = 0.0
    label_weights: Mapping[str, float] = field(default_factory=dict)
    times: TimeSettings = field(default_factory=TimeSettings)
    label_dropout: DropoutSettings = field(default_factory=DropoutSettings)
    contrast: ContrastSettings = field(default_factory=ContrastSettings)

    def weighted_ids(self) -> dict[tuple[int, ...], float]:
        """Label ids → what they count in the loss: bone, and the labels named in ``label_weights``."""
        vocabulary = load_vocabulary()
        named: dict[tuple[int, ...], float] = {
            (vocabulary.find(name).id,): weight for name, weight in self.label_weights.items()
        }
        return {tuple(vocabulary.group_ids("bone")): self.bone_weight, **named}

    def contrasted_ids(self) -> list[int]:
        """Ids of the structures of the contrastive loss."""
        return [load_vocabulary().find(name).id for name in self.contrast.labels]


PARTS = {"times": TimeSettings, "label_dropout": DropoutSettings, "contrast": ContrastSettings}


def denoiser_settings(config: Config, stage: str) -> DenoiserSettings:
    """The settings of the stage ``diffusion`` or ``controlnet``.

    Raises InputError for a section that breaks the schema, a label or kind of case that does not exist, and settings
    that contradict each other.
    """
    values = _tuples(read_settings(config, stage, "denoiser"))
    parts = {name: part(**values[name]) for name, part in PARTS.items() if name in values}
    settings = DenoiserSettings(**{**values, **parts})
    if stage == "diffusion" and settings.contrast.weights:
        raise InputError(
            "diffusion.contrast compares two masks, which the U-Net alone does not see; set it in controlnet."
        )
    settings.weighted_ids(), settings.contrasted_ids()  # raise now and not in the first step
    kinds = config.get("encode", {}).get("versions", {})
    unknown = sorted(set(settings.weights or {}) - set(kinds)) if kinds else []
    if unknown:
        known = ", ".join(sorted(kinds))
        raise InputError(
            f"{stage}.weights names the kind '{unknown[0]}', which encode.versions does not have: {known}."
        )
    return settings


def _tuples(value: Any) -> Any:
    """JSON's lists as tuples, which frozen settings hold."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
