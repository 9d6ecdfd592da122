"""Where training data comes from: one module per kind of folder, each with ``find(root, settings)``.

Settings are those of the config's ``data``, over those of a recipe (:mod:`training.recipes`): ``kind``, ``image``,
``patient`` (pattern), ``labels`` (name or number → label), ``extra_labels``, ``scheme``, ``region``, ``collection``,
``licence``, ``citation``; ``modality``: ``ct``, or ``mr`` for images without a unit, or one of their classes such as
``mri_t1`` (:data:`training.model_conditions.MODALITY_CLASSES`).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from SynthCTLib.errors import InputError
from training.config import Config
from training.sources import dicom, duke, images, manifest, mrnet, msd, openkbp, totalsegmentator
from training.sources.case import Case, Found, LeftOut

KINDS = {
    "manifest": manifest.find,
    "images": images.find,
    "dicom": dicom.find,
    "msd": msd.find,
    "totalsegmentator": totalsegmentator.find,
    "openkbp": openkbp.find,
    "mrnet": mrnet.find,
    "duke": duke.find,
}

UNSAID = {"collection": "own images", "licence": "not stated", "citation": ""}
"""What ``cases.json`` and the card of a model say where neither config nor recipe do."""


def find_cases(root: Path, settings: Config) -> list[Case | LeftOut]:
    """All cases of a folder, and what is none with the reason. Raises InputError for a folder of no known kind."""
    if not root.is_dir():
        raise InputError(f"The folder {root} does not exist; give yours as source=FOLDER.")
    kind = settings.get("kind", "auto")
    if kind == "auto":
        found = [*_auto(root, settings)]
    elif kind in KINDS:
        found = [*KINDS[kind](root, settings)]
    else:
        raise InputError(f"There is no kind of data '{kind}'; use auto, {', '.join(KINDS)}.")
    if not any(isinstance(item, Case) for item in found):
        reasons = "; ".join(f"{item.case_id}: {item.reason}" for item in found[:3] if isinstance(item, LeftOut))
        raise InputError(f"{root} holds no case of kind '{kind}'" + (f" ({reasons})." if reasons else "."))
    return _unique([_with_settings(item, settings) for item in found])


def _auto(root: Path, settings: Config) -> Found:
    """The kind that the folder's files show; images and DICOM series may be mixed."""
    if (root / "manifest.csv").is_file():
        yield from manifest.find(root, settings)
    elif (root / "dataset.json").is_file() and (root / "imagesTr").is_dir():
        yield from msd.find(root, settings)
    elif any(root.glob("s*/segmentations")) and any(root.glob("s*/ct.nii.gz")):
        yield from totalsegmentator.find(root, settings)
    elif any(root.rglob("pt_*/ct.csv")):
        yield from openkbp.find(root, settings)
    else:
        yield from images.find(root, settings)
        yield from dicom.find(root, settings)


def _with_settings(item: Case | LeftOut, settings: Config) -> Case | LeftOut:
    """The case with what the settings say about all cases; what it says itself (region, facts) comes first."""
    if isinstance(item, LeftOut):
        return item
    group = settings.get("group", "own")
    prefix = f"{group}_" if "group" in settings else ""
    facts = {key: settings.get(key, unsaid) for key, unsaid in UNSAID.items()}
    if "modality" in settings:
        facts["modality"] = str(settings["modality"]).lower()
    return dataclasses.replace(
        item,
        case_id=item.case_id if item.trusted else prefix + item.case_id,
        patient=item.patient if item.trusted else prefix + item.patient,
        region=item.region or tuple(settings.get("region") or ()),
        facts={"group": group, **facts, **item.facts},
    )


def _unique(found: list[Case | LeftOut]) -> list[Case | LeftOut]:
    """The later of two cases with one id becomes a LeftOut."""
    seen: set[str] = set()
    result: list[Case | LeftOut] = []
    for item in found:
        if isinstance(item, Case) and item.case_id.lower() in seen:
            item = LeftOut(item.case_id, f"another case has the same name ({item.files[0].name}); rename one.")
        elif isinstance(item, Case):
            seen.add(item.case_id.lower())
        result.append(item)
    return result
