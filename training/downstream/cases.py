"""Patients with the structures to be found: CT, classes and full label map on one grid, kept in the run folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SynthCTLib.errors import InputError
from SynthCTLib.volume import Volume
from training.config import Config
from training.files import save_arrays
from training.prepare import read_cases
from training.pseudo_labels import Case, pseudo_label
from training.regrid import regrid

MULTIPLE, SMALLEST = 16, 48  # voxels along each axis: what the embedded model takes as it is


@dataclass(frozen=True)
class LabeledVolume:
    """A CT with what is to be found in it, axes RAS.

    ``hu``: int16 HU. ``classes``: uint8, 0 background, 1 … in the order of the config's ``structures``. ``mask``:
    uint8 MAISI ids of everything known, body 200. ``spacing`` in mm. ``patient`` decides the fold.
    """

    name: str
    patient: str
    split: str
    hu: np.ndarray
    classes: np.ndarray
    mask: np.ndarray
    spacing: tuple[float, float, float]


def labeled_cases(config: Config) -> list[LabeledVolume]:
    """Every prepared case in which all structures were drawn: elsewhere, 0 can mean that nobody drew them.

    The config has ``prepared``, ``splits``, ``run``, ``spacing`` (mm) and ``structures``: name → ids in ``labels`` and
    ``labels_extra``, drawn only if all of them are there.

    Raises:
        InputError: fewer cases than folds.
    """
    metas = [meta for split in config["splits"] for meta in read_cases(config["prepared"], split)]
    found = [case for meta in metas if (case := _labeled_case(config, meta)) is not None]
    if len(found) < config["folds"]:
        wanted = ", ".join(config["structures"])
        raise InputError(f"Only {len(found)} cases have all of {wanted}; {config['folds']} folds need more cases.")
    return found


def _labeled_case(config: Config, meta: dict) -> LabeledVolume | None:
    folder = Path(config["prepared"]) / meta["case_id"]
    if not _all_drawn(folder, config["structures"]):
        return None
    settings = json.dumps([meta.get("files"), config["spacing"], config["structures"]], sort_keys=True)
    stamp = hashlib.sha256(settings.encode()).hexdigest()[:12]
    kept = Path(config["run"]) / "cases" / f"{meta['case_id']}-{stamp}.npz"
    if not kept.is_file():
        save_arrays(kept, **_on_grid(folder, meta, config))
    with np.load(kept) as arrays:
        x, y, z = (float(s) for s in arrays["spacing"])
        return LabeledVolume(
            meta["case_id"], meta.get("patient", meta["case_id"]), meta["split"],
            arrays["hu"], arrays["classes"], arrays["mask"], (x, y, z),
        )  # fmt: skip


def _all_drawn(folder: Path, structures: dict[str, dict[str, list[int]]]) -> bool:
    for source in ("labels", "labels_extra"):
        wanted = {number for where in structures.values() for number in where.get(source, [])}
        path = folder / f"{source}.npy"
        if wanted and not (path.is_file() and wanted <= set(np.unique(np.load(path)).tolist())):
            return False
    return True


def _on_grid(folder: Path, meta: dict, config: Config) -> dict[str, np.ndarray]:
    """Arrays of a LabeledVolume at the config's spacing, padded to sizes that the generator takes as they are."""
    case = Case(folder, meta)
    classes = np.zeros(case.hu.shape, np.uint8)
    for number, where in enumerate(config["structures"].values(), 1):
        drawn = np.isin(case.given, where.get("labels", [])) | np.isin(case.extra, where.get("labels_extra", []))
        classes[drawn] = number
    maps = {"classes": classes, "mask": pseudo_label(case)}
    volumes = [Volume(array, case.volume.affine) for array in maps.values()]
    image, moved = regrid(case.volume, volumes, {"spacing": config["spacing"]})
    pads = [(0, max(SMALLEST, -(-n // MULTIPLE) * MULTIPLE) - n) for n in image.shape]
    hu = np.pad(np.clip(np.rint(image.array), -1000, 1000).astype(np.int16), pads, constant_values=-1000)
    arrays = {name: np.pad(volume.array, pads) for name, volume in zip(maps, moved, strict=True) if volume is not None}
    return {"hu": hu, "spacing": np.array(image.spacing), **arrays}
