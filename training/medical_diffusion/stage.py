"""The device of the family's stages; their loop is :mod:`training.loop`."""

from __future__ import annotations

from lightning_fabric import Fabric

from SynthCTLib.errors import InputError
from training.config import Config
from training.loop import start_fabric


def one_device(config: Config, precision: str) -> Fabric:
    """Fabric on one device; raises InputError for more, and for float16, in which the quantizer's input overflows."""
    if config["devices"] != 1:
        raise InputError("The stages of the Medical Diffusion family run on one device; set devices=1.")
    if precision not in ("32-true", "bf16-mixed"):
        raise InputError(f"The precision '{precision}' cannot be used here; choose 32-true or bf16-mixed.")
    return start_fabric(config, precision)
