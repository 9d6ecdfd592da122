"""One synthetic CT for each case, from its own mask, by a generator that must not have seen any of the patients."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np

from SynthCTLib.cards import load_card
from SynthCTLib.errors import InputError
from SynthCTLib.geometry import to_ras
from SynthCTLib.job import Job
from SynthCTLib.kept import Kept
from SynthCTLib.output import CT
from SynthCTLib.pipeline import generate
from SynthCTLib.reading import read_image
from SynthCTLib.store import ModelStore
from training.config import Config
from training.downstream.cases import LabeledVolume
from training.files import save_arrays
from training.prepare import read_cases


def refuse_seen(cases: Sequence[LabeledVolume], generator: Config) -> None:
    """Raise InputError if the generator has been trained on one of the patients.

    ``generator`` has ``trained_on``, the prepared data of its training, and ``seen``, the splits it learned from.
    """
    try:
        metas = [meta for split in generator["seen"] for meta in read_cases(generator["trained_on"], split)]
    except InputError as error:
        raise InputError(
            f"{generator['trained_on']} holds no cases.json; give the prepared data that the generator was trained on "
            "as generator.trained_on, so that its patients can be kept out."
        ) from error
    seen = {meta.get("patient", meta["case_id"]) for meta in metas}
    both = sorted({case.patient for case in cases} & seen)
    if both:
        raise InputError(f"The generator was trained on {both[0]} ({len(both)} in all); leave such patients out.")


def weights_of(generator: Config) -> list[str]:
    """SHA-256 of each file of the model that ``generator`` names."""
    return [file["sha256"] for file in load_card(generator["model"], ModelStore()).files.values()]


def synthetic_of(cases: Sequence[LabeledVolume], config: Config) -> list[LabeledVolume]:
    """The same cases with the CT that the model of ``generator`` makes from their masks; each is made only once."""
    generator, kept = config["generator"], Kept()
    weights, made = weights_of(generator), []
    for number, case in enumerate(cases):
        seed = config["seed"] + number
        text = json.dumps([weights, generator["preset"], seed, hashlib.sha256(case.mask.tobytes()).hexdigest()])
        stamp = hashlib.sha256(text.encode()).hexdigest()[:12]
        path = Path(config["run"]) / "synthetic" / f"{case.name}-{stamp}.npz"
        if not path.is_file():
            save_arrays(path, hu=_make(case, generator, seed, kept))
            print(f"synthetic {number + 1}/{len(cases)} {case.name}", flush=True)
        with np.load(path) as arrays:
            made.append(replace(case, hu=arrays["hu"]))
    return made


def _make(case: LabeledVolume, generator: Config, seed: int, kept: Kept) -> np.ndarray:
    """int16 HU on the case's grid, through the pipeline that users run."""
    with tempfile.TemporaryDirectory() as folder:
        mask, out = Path(folder) / "labels.nii.gz", Path(folder) / "result"
        nib.save(nib.Nifti1Image(case.mask, np.diag([*case.spacing, 1.0])), mask)
        job = Job(mask, out, generator["model"], preset=generator["preset"], seed=seed, labels="maisi", grid="input")
        generate(job, kept=kept)
        hu = to_ras(read_image(out / CT)).array
    return np.clip(np.rint(hu), -1000, 1000).astype(np.int16)
