"""Stage *label*: a full conditioning mask for every prepared case, also where nobody drew one.

What the masks of CT show is decided in :mod:`training.pseudo_labels`; MR gets its body and the labels that were given.
A run that was stopped goes on: a case whose files and settings have not changed is not labeled again, and a mask that
comes out as it was keeps its file.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from SynthCTLib.errors import InputError
from SynthCTLib.model_files import read_json
from SynthCTLib.volume import Volume
from training.atlas import carried_labels
from training.config import Config
from training.files import load_array, save_array, write_json
from training.foreground import body_from_mr
from training.intensities import modality_of
from training.prepare import read_cases
from training.pseudo_labels import BODY, Case, pseudo_label
from training.settings import read_settings, require_keys

RULES = 1
"""Goes up when the rules for masks change, so that every case is labeled again."""


def label(config: Config) -> None:
    """Write ``mask.npy`` for every prepared case and ``masks.json`` with how each was made.

    Raises InputError where nothing is prepared yet or ``label.atlas`` cannot be followed.
    """
    require_keys(config, "prepared")
    prepared = Path(config["prepared"])
    atlases = read_settings({"label": {}, **config}, "label")["atlas"]
    made = {}
    for split in ("train", "val"):
        for meta in read_cases(prepared, split):
            name = meta["case_id"]
            made[name] = _label_case(prepared, meta, atlases.get(name))
            print(name, made[name], flush=True)
    write_json(prepared / "masks.json", made)


def _label_case(prepared: Path, meta: dict[str, Any], atlas: str | None) -> dict[str, Any]:
    """How the mask of a case was made; ``mask.json`` beside the mask says it and what it was made from."""
    folder = prepared / meta["case_id"]
    state = _state(prepared, meta, atlas)
    record = read_json(folder / "mask.json")
    if record.get("state") == state and (folder / "mask.npy").is_file():
        return record["entry"]
    (folder / "mask.json").unlink(missing_ok=True)
    mask, given, body = (_mr_mask if modality_of(meta) == "mr" else _ct_mask)(prepared, meta, atlas)
    earlier = load_array(folder / "mask.npy")
    if earlier is None or not np.array_equal(earlier, mask):
        save_array(folder / "mask.npy", mask)
    entry = {
        "given": int((given > 0).sum()),
        "labels": len(np.unique(mask)),
        "atlas": atlas,
        "body_share": float(body.mean()),
    }
    write_json(folder / "mask.json", {"state": state, "entry": entry})
    return entry


def _ct_mask(prepared: Path, meta: dict[str, Any], atlas: str | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mask, given labels, body) of a CT."""
    case = Case(prepared / meta["case_id"], meta)
    carried = carried_labels(prepared, atlas, case) if atlas else None
    return pseudo_label(case, carried), case.given, case.body


def _mr_mask(prepared: Path, meta: dict[str, Any], atlas: str | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mask, given labels, body) of MR: the given labels and the body around them. Raises InputError for an atlas."""
    if atlas:
        raise InputError(
            f"{meta['case_id']} is MR, and labels are carried over to CT only; take it out of label.atlas."
        )
    folder = prepared / meta["case_id"]
    image = Volume(np.load(folder / "mr.npy"), np.asarray(meta["affine"]))
    body, path = body_from_mr(image), folder / "labels.npy"
    given = np.load(path) if path.is_file() else np.zeros(image.shape, np.uint8)
    return np.where(given > 0, given, np.where(body, BODY, 0)).astype(np.uint8), given, body


def _state(prepared: Path, meta: dict[str, Any], atlas: str | None) -> str:
    """Changes with everything that the mask of a case depends on."""
    paths = [prepared / meta["case_id"] / f"{name}.npy" for name in (modality_of(meta), "labels", "labels_extra")]
    paths += [prepared / atlas / f"{name}.npy" for name in ("ct", "labels")] if atlas else []
    files = [(path.stat().st_size, path.stat().st_mtime_ns) if path.is_file() else None for path in paths]
    facts = [meta.get(key) for key in ("case_id", "group", "region", "affine")]
    return hashlib.sha256(json.dumps([RULES, facts, atlas, files]).encode()).hexdigest()
