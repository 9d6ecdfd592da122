"""Stage *lesions*: the prepared cases, and beside them versions with simulated lesions, in a folder of their own.

The stages *encode* and later ones take that folder as ``prepared``; *evaluate* keeps to the real one. A version with
lesions is of the group ``<kind> with lesions``, which ``encode.versions`` and the ``weights`` of the denoiser can name.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from SynthCTLib.labels import load_vocabulary
from training.config import Config
from training.encode import kind_of
from training.files import save_array, write_json
from training.intensities import modality_of
from training.prepare import read_cases
from training.settings import read_settings
from training.simulated_lesions import simulate_lesions


def lesion_cases(config: Config) -> None:
    """Write ``lesions.folder``. Raises InputError where nothing is prepared yet or a setting is wrong."""
    settings = read_settings(config, "lesions")
    prepared, folder = Path(config["prepared"]), Path(settings["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    plain = [meta for split in ("train", "val") for meta in read_cases(prepared, split)]
    added: list[dict[str, Any]] = []
    for number, meta in enumerate(plain):
        _share_files(prepared / meta["case_id"], folder / meta["case_id"])
        rng = np.random.default_rng([config["seed"], number])
        kind = kind_of(meta, settings["versions"])
        wanted = settings["versions"].get(kind, 0) if meta["split"] == "train" and modality_of(meta) == "ct" else 0
        for version in range(int(wanted) + int(rng.random() < wanted % 1)):
            found = _write_version(prepared, folder, meta, version, settings["count"], rng)
            if found is not None:
                added.append(found | {"group": f"{kind} with lesions"})
        print(f"{number + 1}/{len(plain)} {meta['case_id']}: {len(added)} versions with lesions so far", flush=True)
    left_out = json.loads((prepared / "cases.json").read_text(encoding="utf-8")).get("left_out", [])
    write_json(folder / "cases.json", {"cases": plain + added, "left_out": left_out})


def _write_version(
    prepared: Path, folder: Path, meta: dict[str, Any], version: int, count: int, rng: np.random.Generator
) -> dict[str, Any] | None:
    """One case with lesions and its entry; None where none could be painted."""
    source = prepared / meta["case_id"]
    hu, mask = np.load(source / "ct.npy"), np.load(source / "mask.npy")
    hu, mask, painted = simulate_lesions(hu, mask, np.asarray(meta["spacing"]), count, rng)
    if not painted:
        return None
    name = f"{meta['case_id']}_lesions_{version}"
    (folder / name).mkdir(exist_ok=True)
    save_array(folder / name / "ct.npy", np.rint(hu).astype(np.int16))
    save_array(folder / name / "mask.npy", mask)
    names = [load_vocabulary().by_id(lesion).name for lesion in painted]
    kept = {key: value for key, value in meta.items() if key != "files"}  # hashes of the case without lesions
    return {**kept, "case_id": name, "simulated_lesions": names}


def _share_files(source: Path, target: Path) -> None:
    """The same files in another folder, without a copy where the disk can do that; those of an earlier run go."""
    target.mkdir(exist_ok=True)
    for file in source.iterdir():
        other = target / file.name
        other.unlink(missing_ok=True)
        try:
            os.link(file, other)
        except OSError:
            shutil.copy2(file, other)
