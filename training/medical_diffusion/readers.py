"""Stage *md-readers*: a blinded form with real and made volumes of any modality, graded A to D as in the paper.

Written are ``<run>/scorecards/<name>-reader-form.html`` and its key; ``tally`` counts the forms that come back.
"""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from SynthCTLib.errors import InputError
from training.config import Config
from training.files import write_json, write_text
from training.medical_diffusion.ms_ssim import made_paths, read_made
from training.medical_diffusion.volumes import VolumeSet
from training.pictures import GRAYS
from training.reader_form import reader_form
from training.scans import Scan

NOUNS = {"ct": "CT", "mr": "MR image"}


def write_reader_form(config: Config) -> None:
    """Write the form for held-out volumes and for those in ``md-readers.made``, up to ``number`` of each.

    Raises InputError where either are missing, or differ in size.
    """
    settings, intensity = config["md-readers"], config["volumes"]["intensity"]
    volumes, paths = VolumeSet(config, "val"), made_paths(Path(settings["made"]))
    if not paths:
        raise InputError(f"{settings['made']} holds no volumes; make them with 'synthct generate --count'.")
    shape = volumes.array(0).shape
    x, y, z = (float(mm) for mm in nib.load(paths[0]).header.get_zooms()[:3])  # type: ignore[attr-defined]
    real = [
        Scan(case["case_id"], shown(volumes.array(n), intensity), None, (x, y, z))
        for n, case in enumerate(volumes.cases)
    ]
    made = [
        Scan(path.parent.name, shown(read_made(path, intensity, shape), intensity), None, (x, y, z)) for path in paths
    ]
    noun = NOUNS[config["export"]["card"]["modality"]]
    form, key = reader_form(real, made, settings["number"], config["seed"], noun)
    page = Path(config["run"]) / "scorecards" / f"{settings['name']}-reader-form.html"
    write_text(page, form)
    write_json(page.with_name(f"{settings['name']}-reader-key.json"), key)
    print(page)


def shown(volume: np.ndarray, intensity: Config) -> np.ndarray:
    """int16 for the form's pictures from a volume in [−1, 1]: HU in a fixed window, else all grays that they show."""
    low, high = intensity.get("window") or GRAYS
    return np.rint((volume + 1) / 2 * (high - low) + low).astype(np.int16)
