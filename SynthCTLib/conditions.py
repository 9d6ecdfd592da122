"""What the networks are told besides the mask: voxel spacing, modality and body region, as tensors.

Conventions of MAISI (arXiv 2409.11169, section 3.2): spacing in mm × 100; regions one-hot × 100 in the order head,
chest, abdomen, pelvis; the modality is a class label (CT = 1). The factors are read from the model card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from SynthCTLib.errors import InputError
from SynthCTLib.regions import REGIONS, Region


@dataclass(frozen=True)
class Conditions:
    """Inputs of the denoiser for one image; None where the model has no such input.

    ``spacing`` (1, 3) float32, mm × factor along X, Y, Z (RAS); ``top_region`` and ``bottom_region`` (1, 4) float32,
    one-hot × factor; ``class_label`` (1,) int64; ``guidance_class_label`` (1,) int64, of guidance's other branch.
    """

    spacing: torch.Tensor | None = None
    class_label: torch.Tensor | None = None
    top_region: torch.Tensor | None = None
    bottom_region: torch.Tensor | None = None
    guidance_class_label: torch.Tensor | None = None

    def to(self, device: torch.device, dtype: torch.dtype) -> Conditions:
        """The same values on another device; spacing and regions in another number format too, labels stay integer."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        given = {name: value.to(device) for name, value in values.items() if value is not None}
        return Conditions(**{name: v.to(dtype) if v.is_floating_point() else v for name, v in given.items()})

    def unconditional(self) -> Conditions:
        """Conditions of the unconditional branch: the same, with the class label that stands for no modality."""
        return replace(self, class_label=self.guidance_class_label)


def build_conditions(
    conditioning: Mapping[str, Any], spacing: Sequence[float], region: Region | None = None
) -> Conditions:
    """Conditions of one image.

    Args:
        conditioning: the card's section of that name (``spacing_factor``, ``class_label``, ``body_region``,
            ``region_factor``, ``guidance_class_label``).
        spacing: mm along X, Y, Z of the model grid.
        region: needed where the card's ``body_region`` is true, ignored otherwise.

    Raises InputError if the model needs a region and none is given, or the spacing is not three positive numbers.
    """
    if len(spacing) != 3 or not all(0 < value < float("inf") for value in spacing):
        raise InputError(f"The spacing {tuple(spacing)} cannot be used; give three positive numbers in millimeters.")
    top = bottom = None
    if conditioning.get("body_region", False):
        if region is None:
            raise InputError("This model must know which part of the body the mask shows; choose it with --region.")
        factor = float(conditioning.get("region_factor", 100))
        top, bottom = _one_hot(region.top, factor), _one_hot(region.bottom, factor)
    label = conditioning.get("class_label")
    without = conditioning.get("guidance_class_label")
    return Conditions(
        spacing=torch.tensor([list(spacing)], dtype=torch.float32) * float(conditioning.get("spacing_factor", 100)),
        class_label=None if label is None else torch.tensor([int(label)]),
        top_region=top,
        bottom_region=bottom,
        guidance_class_label=None if label is None else torch.tensor([int(without or 0)]),
    )


def _one_hot(region: int, factor: float) -> torch.Tensor:
    result = torch.zeros(1, len(REGIONS))
    result[0, region] = factor
    return result
