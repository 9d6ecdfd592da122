"""A folder of NIfTI and NRRD images, with or without labels beside them.

``case.nii.gz`` goes with ``case_labels.nii.gz`` (``_seg``, ``_mask``, ``_segmentation``), ``case.seg.nrrd`` or a folder
``case_segmentations``; in ``case/ct.nii.gz`` the labels are the one label file or the folder ``segmentations`` beside
it. A data set with fixed names gives ``image``, a glob for its images; everything else in it is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd

from SynthCTLib.errors import InputError
from SynthCTLib.findings import Finding
from SynthCTLib.reading import read_image
from SynthCTLib.reading_folder import SUFFIXES, mask_files
from SynthCTLib.reading_values import missing_affine
from training.config import Config
from training.sources.case import Case, Found, LeftOut, Reading
from training.sources.labels import labels_unusable, read_labels
from training.sources.naming import case_name, patient_of, without_suffix

_LABEL_NAME = re.compile(r"(^|[_\-. ])(labels?|label ?map|seg|segs|segmentations?|masks?)$", re.IGNORECASE)
_IMAGE_WORD = re.compile(r"[_\-. ](ct|image|img|volume|0000)$", re.IGNORECASE)
"""What an image is called beside ``case_seg``: ``case_ct``; ``case_0000`` is the way of nnU-Net."""


def is_image_name(name: str) -> bool:
    """Whether a file name says NIfTI or NRRD."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def find(root: Path, settings: Config) -> Found:
    """Every image below ``root``, ordered by path, and labels that belong to none."""
    if settings.get("image"):
        for path in sorted(root.glob(settings["image"])):
            yield image_case(root, path, [], settings)
        return
    for folder in _folders(root):
        images = [p for p in mask_files(folder) if not is_label(p)]
        labels = _label_entries(folder)
        taken: set[Path] = set()
        for path in images:
            own = labels if len(images) == 1 and folder != root else [e for e in labels if _belongs(e, path)]
            taken.update(own)
            yield image_case(root, path, own, settings)
        for entry in labels:
            if entry not in taken and (entry.is_file() or mask_files(entry)):
                yield LeftOut(entry.relative_to(root).as_posix(), "labels without an image beside them")


def is_label(path: Path) -> bool:
    """Whether a file or folder is called like labels."""
    return path.name.lower().endswith(".seg.nrrd") or bool(_LABEL_NAME.search(without_suffix(path.name)))


def image_case(root: Path, path: Path, labels: list[Path], settings: Config) -> Case | LeftOut:
    """The case of one image file, or the reason why its patient is not known."""
    relative = path.relative_to(root)
    name = case_name(relative)
    try:
        otherwise = relative.parts[0] if len(relative.parts) > 1 else name
        patient = patient_of(relative.as_posix(), settings.get("patient"), otherwise)
    except InputError as error:
        return LeftOut(relative.as_posix(), str(error))
    files = [path]
    for entry in labels:
        files.extend(mask_files(entry) if entry.is_dir() else [entry])
    read = partial(read_case, path, labels, settings)
    return Case(name, patient, tuple(files), read, identified=bool(settings.get("patient")))


def read_case(path: Path, labels: list[Path], settings: Config) -> Reading:
    """Image and labels of one case. Raises InputError for the image; labels become findings."""
    image, notes = read_image(path), _orientation(path)
    if len(labels) > 1:
        names = ", ".join(entry.name for entry in labels)
        return Reading(image, notes=[*notes, labels_unusable(f"there are several ({names}); keep one.")])
    if not labels:
        return Reading(image, notes=notes)
    volume, more = read_labels(labels[0], settings.get("labels"), settings.get("scheme"))
    return Reading(image, volume, notes=notes + more)


def _orientation(path: Path) -> list[Finding]:
    """The warning for a file (readable, as it was read before) that does not say how it lies in the body."""
    if path.name.lower().endswith(".nrrd"):
        known = "space directions" in nrrd.read_header(str(path))
    else:
        header: Any = nib.load(path).header
        known = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
    return [] if known else [missing_affine(path.name)]


def _folders(root: Path) -> Iterator[Path]:
    """``root`` and all folders below it that are no folder of masks and not hidden."""
    yield root
    for path in sorted(root.iterdir()):
        if path.is_dir() and not path.name.startswith(".") and not is_label(path):
            yield from _folders(path)


def _label_entries(folder: Path) -> list[Path]:
    files = [path for path in mask_files(folder) if is_label(path)]
    folders = [p for p in folder.iterdir() if p.is_dir() and is_label(p) and not p.name.startswith(".")]
    return sorted([*files, *folders])


def _belongs(entry: Path, image: Path) -> bool:
    """Whether the name of the labels is that of the image with a word for labels behind it."""
    name, own = without_suffix(entry.name), without_suffix(image.name)
    return _LABEL_NAME.sub("", name) in (own, _IMAGE_WORD.sub("", own))
