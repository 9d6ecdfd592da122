"""``python -m training <stage> --config FILE [key=value …]``: one command per stage."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from SynthCTLib.errors import SynthCTError
from training.config import load_config
from training.run_folder import record_start

STAGES = {
    "prepare": ("training.prepare", "prepare"),
    "label": ("training.label", "label"),
    "lesions": ("training.lesion_cases", "lesion_cases"),
    "autoencoder": ("training.autoencoder", "train_autoencoder"),
    "encode": ("training.encode", "encode"),
    "diffusion": ("training.denoiser", "train_diffusion"),
    "controlnet": ("training.denoiser", "train_controlnet"),
    "refiner": ("training.refiner", "train_refiner"),
    "export": ("training.export", "export"),
    "evaluate": ("training.evaluate", "evaluate"),
    "card": ("training.export", "update_card"),
    "tally": ("training.reader_tally", "tally"),
    "baselines": ("training.baselines.compare", "baselines"),
    "downstream": ("training.downstream.experiment", "downstream"),
    "swin-unetr-ssl": ("training.downstream.swin_unetr", "swin_unetr_ssl"),
    "vqgan": ("training.medical_diffusion.vqgan_stage", "train_vqgan"),
    "md-encode": ("training.medical_diffusion.latents", "encode_volumes"),
    "md-diffusion": ("training.medical_diffusion.diffusion_stage", "train_diffusion"),
    "md-export": ("training.medical_diffusion.export", "export"),
    "md-evaluate": ("training.medical_diffusion.judge", "evaluate_model"),
    "md-readers": ("training.medical_diffusion.readers", "write_reader_form"),
    "ms-ssim": ("training.medical_diffusion.ms_ssim", "compare"),
}


def main() -> int:
    """Run one stage."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_intermixed_args()
    try:
        config = load_config(arguments.config, arguments.overrides)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    module, function = STAGES[arguments.stage]
    try:
        record_start(config, arguments.stage)
        getattr(importlib.import_module(module), function)(config)
    except SynthCTError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
