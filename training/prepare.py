"""Stage *prepare*: real CT volumes become RAS int16 arrays in HU, which later stages read without decoding NIfTI.

Input: a folder with ``manifest.csv`` (columns ``case_id, split, has_ct, licence, citation`` and more) and
``cases/<case_id>/ct.nii.gz`` (+ ``labels.nii.gz``, ``labels_extra.nii.gz``). Output: ``<out>/<case_id>/ct.npy``,
``labels.npy``, ``labels_extra.npy`` and ``<out>/cases.json`` with spacing, split, licence and what was left out.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np

from training.config import Config
from training.files import write_json


def load_ras(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return (array with axes R, A, S; 4×4 affine in mm) of a NIfTI file."""
    image = nib.as_closest_canonical(nib.load(path))
    return np.asanyarray(image.dataobj), image.affine


def prepare(config: Config) -> None:
    """Convert every usable case of ``config['source']`` and list the ones left out with the reason."""
    source, out = Path(config["source"]), Path(config["prepared"])
    out.mkdir(parents=True, exist_ok=True)
    excluded: dict[str, str] = dict(config.get("exclude", {}))
    splits = config.get("splits", ["train", "val"])
    kept, left_out = [], []
    with (source / "manifest.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        case = row["case_id"]
        reason = excluded.get(case)
        if reason is None and row["has_ct"] != "yes":
            reason = "no CT image"
        if reason is None and row["split"] not in splits:
            reason = f"split {row['split']} is not used"
        if reason is not None:
            left_out.append({"case_id": case, "reason": reason})
            continue
        folder = out / case
        folder.mkdir(exist_ok=True)
        hu, affine = load_ras(source / "cases" / case / "ct.nii.gz")
        np.save(folder / "ct.npy", np.clip(hu, -1024, 3071).astype(np.int16))
        for name in ("labels", "labels_extra"):
            path = source / "cases" / case / f"{name}.nii.gz"
            if path.is_file():
                labels, _ = load_ras(path)
                np.save(folder / f"{name}.npy", labels.astype(np.uint8))
        kept.append(
            {
                "case_id": case,
                "split": row["split"],
                "group": case.split("_")[0],
                "region": row["region"].split(";"),
                "shape": list(hu.shape),
                "spacing": [float(s) for s in np.linalg.norm(affine[:3, :3], axis=0)],
                "affine": affine.tolist(),
                "has_many_organ_labels": row["has_many_organ_labels"] == "yes",
                "collection": row["collection"],
                "licence": row["licence"],
                "citation": row["citation"],
            }
        )
    write_json(out / "cases.json", {"cases": kept, "left_out": left_out})
    print(f"prepared {len(kept)} cases in {out}; left out {len(left_out)}")


def read_cases(prepared: Path, split: str) -> list[dict]:
    """Cases of one split, as written by :func:`prepare`."""
    cases = json.loads((Path(prepared) / "cases.json").read_text(encoding="utf-8"))["cases"]
    return [case for case in cases if case["split"] == split]
