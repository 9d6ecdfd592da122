"""A task of the Medical Segmentation Decathlon: ``dataset.json``, ``imagesTr``, ``labelsTr``, ``imagesTs``.

Test images have no labels and are used as unlabeled CT. The set has no patient ids: each file counts as a patient.
"""

from __future__ import annotations

import json
from pathlib import Path

from SynthCTLib.errors import InputError
from training.config import Config
from training.sources.case import Found, LeftOut
from training.sources.images import image_case


def find(root: Path, settings: Config) -> Found:
    """The cases that ``dataset.json`` lists. Raises InputError when it cannot be read."""
    try:
        listed = json.loads((root / "dataset.json").read_text(encoding="utf-8"))
        entries = [(item["image"], item["label"]) for item in listed["training"]]
        entries += [(item, None) for item in listed.get("test", [])]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{root / 'dataset.json'} is missing or no list of a Decathlon task; unpack it again."
        ) from error
    modality = str(listed.get("modality", {}).get("0", "CT"))
    if modality.upper() != "CT":
        raise InputError(
            f"The task '{listed.get('name', root.name)}' has {modality}, not CT; choose a task of CT images."
        )
    settings = {"patient": r"([^/]+)\.nii", **settings}
    for image, label in entries:
        path = root / image
        if not path.is_file():
            yield LeftOut(image, "listed in dataset.json and not in the folder")
            continue
        if label is not None and not (root / label).is_file():
            yield LeftOut(image, f"its labels {label} are listed in dataset.json and not in the folder")
            continue
        yield image_case(root, path, [root / label] if label else [], settings)
