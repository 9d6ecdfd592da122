"""Random changes of image and classes while a segmenter learns, all of them TorchIO's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torchio as tio

from SynthCTLib.errors import InputError

KINDS = {
    "flip": tio.RandomFlip,
    "affine": tio.RandomAffine,
    "ghosting": tio.RandomGhosting,
    "noise": tio.RandomNoise,
    "blur": tio.RandomBlur,
    "bias field": tio.RandomBiasField,
    "gamma": tio.RandomGamma,
}


class Augmentation:
    """The kinds that ``settings`` names, in that order; their values are TorchIO's own arguments (``p``: how often).

    What is drawn comes from torch's global random state. Raises InputError for an unknown kind.
    """

    def __init__(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        unknown = [kind for kind in settings if kind not in KINDS]
        if unknown:
            raise InputError(f"There is no augmentation '{unknown[0]}'; use {', '.join(KINDS)}.")
        self.transform = tio.Compose([KINDS[kind](**arguments) for kind, arguments in settings.items()])

    def __call__(self, image: torch.Tensor, classes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(1, X, Y, Z) image in the unit range and integer classes, both changed alike."""
        subject = tio.Subject(image=tio.ScalarImage(tensor=image), classes=tio.LabelMap(tensor=classes))
        changed = self.transform(subject)
        return changed.image.data, changed.classes.data.to(classes.dtype)
