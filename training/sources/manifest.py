"""A folder with ``manifest.csv``: one row per case, checked by hand, with split, licence and citation.

Columns ``case_id, split, has_ct, region, collection, licence, citation, has_many_organ_labels``; images are
``cases/<case_id>/ct.nii.gz`` (+ ``labels.nii.gz``, ``labels_extra.nii.gz`` in ids of the vocabulary).
"""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

from SynthCTLib.errors import InputError
from SynthCTLib.reading import read_image
from SynthCTLib.reading_nifti import read_nifti_labels
from SynthCTLib.volume import Volume
from training.config import Config
from training.sources.case import Case, Found, LeftOut, Reading

COLUMNS = ("case_id", "split", "has_ct", "region", "collection", "licence", "citation", "has_many_organ_labels")


def find(root: Path, settings: Config) -> Found:
    """The rows of the manifest in its order. Raises InputError where there is none, or one without these columns."""
    path = root / "manifest.csv"
    if not path.is_file():
        raise InputError(
            f"{root} has no manifest.csv, which 'prepare' looks for where the config has no 'data'. For a folder of "
            'images or DICOM use training/configs/own_folder.json, or add "data": {"kind": "auto"} to the config.'
        )
    with path.open(newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle, restval="")
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise InputError(f"{path} has no column '{missing[0]}'; it needs {', '.join(COLUMNS)}.")
        rows = list(reader)
    for row in rows:
        case_id = row["case_id"]
        if row["has_ct"] != "yes":
            yield LeftOut(case_id, "no CT image")
            continue
        folder = root / "cases" / case_id
        files = tuple(folder / f"{name}.nii.gz" for name in ("ct", "labels", "labels_extra"))
        yield Case(
            case_id=case_id,
            patient=row.get("patient") or case_id,
            files=tuple(path for path in files if path.is_file()),
            read=partial(_read, folder),
            split=row["split"],
            region=tuple(row["region"].split(";")),
            trusted=True,
            identified=bool(row.get("patient")),
            facts={
                "group": case_id.split("_")[0],
                "has_many_organ_labels": row["has_many_organ_labels"] == "yes",
                "collection": row["collection"],
                "licence": row["licence"],
                "citation": row["citation"],
            },
        )


def _read(folder: Path) -> Reading:
    return Reading(
        read_image(folder / "ct.nii.gz"),
        _labels(folder / "labels.nii.gz"),
        _labels(folder / "labels_extra.nii.gz"),
    )


def _labels(path: Path) -> Volume | None:
    if not path.is_file():
        return None
    raw = read_nifti_labels(path)
    return Volume(raw.array, raw.affine)
