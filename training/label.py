"""Stage *label*: a full conditioning mask for every prepared case, also where nobody drew one.

What the masks show is decided in :mod:`training.pseudo_labels`. A run that was stopped goes on: a case whose files and
settings have not changed is not labeled again, and a mask that comes out as it was keeps its file.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from SynthCTLib.model_files import read_json
from training.atlas import carried_labels
from training.config import Config
from training.files import load_array, save_array, write_json
from training.prepare import read_cases
from training.pseudo_labels import Case, pseudo_label

RULES = 1
"""Goes up when the rules for masks change, so that every case is labeled again."""


def label(config: Config) -> None:
    """Write ``mask.npy`` for every prepared case and ``masks.json`` with how each was made."""
    prepared = Path(config["prepared"])
    atlases = config["label"]["atlas"]
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
    case = Case(folder, meta)
    carried = carried_labels(prepared, atlas, case) if atlas else None
    mask = pseudo_label(case, carried)
    earlier = load_array(folder / "mask.npy")
    if earlier is None or not np.array_equal(earlier, mask):
        save_array(folder / "mask.npy", mask)
    entry = {
        "given": int((case.given > 0).sum()),
        "labels": len(np.unique(mask)),
        "atlas": atlas,
        "body_share": float(case.body.mean()),
    }
    write_json(folder / "mask.json", {"state": state, "entry": entry})
    return entry


def _state(prepared: Path, meta: dict[str, Any], atlas: str | None) -> str:
    """Changes with everything that the mask of a case depends on."""
    paths = [prepared / meta["case_id"] / f"{name}.npy" for name in ("ct", "labels", "labels_extra")]
    paths += [prepared / atlas / f"{name}.npy" for name in ("ct", "labels")] if atlas else []
    files = [(path.stat().st_size, path.stat().st_mtime_ns) if path.is_file() else None for path in paths]
    facts = [meta.get(key) for key in ("case_id", "group", "region", "affine")]
    return hashlib.sha256(json.dumps([RULES, facts, atlas, files]).encode()).hexdigest()
