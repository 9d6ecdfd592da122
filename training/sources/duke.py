"""Duke breast MRI: DICOM series and one breast segmentation per patient; each breast becomes a case.

Segmentations are NRRD or NIfTI files anywhere below the folder, named with the patient, as the set's supplement has
them (``Segmentation_Breast_MRI_002_Breast.seg.nrrd``); ``mask`` is their glob. What lies outside of the breasts gets
the image's minimum; the image is parted in its middle, as in the paper, and each side is cut to its breast.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from SynthCTLib.errors import InputError
from SynthCTLib.geometry import resample_labels, to_ras
from SynthCTLib.volume import Volume
from training.config import Config
from training.sources import dicom
from training.sources.case import Found, LeftOut, Reading

SIDES = ("left", "right")
LEAST_SHARE = 0.05  # of the segmented voxels; less is what the other breast has beyond the middle


def find(root: Path, settings: Config) -> Found:
    """Two cases per MR series whose patient has a segmentation; patients without one are listed."""
    masks = sorted(root.glob(settings.get("mask", "**/*_Breast.seg.nrrd")))
    for item in dicom.find(root, {"modality": "mr", **settings}):
        if isinstance(item, LeftOut):
            yield item
            continue
        own = [path for path in masks if f"{item.patient}_" in path.name]
        if len(own) != 1:
            yield LeftOut(item.case_id, f"{len(own)} breast segmentations are named after {item.patient}, not one")
            continue
        for side in SIDES:
            read = partial(_read, item.read, own[0], side)
            yield dataclasses.replace(
                item, case_id=f"{item.case_id}_{side}", files=(*item.files, own[0]), read=read, region=("chest",)
            )


def _read(whole: Callable[[], Reading], mask: Path, side: str) -> Reading:
    reading = whole()
    image = to_ras(reading.image)
    breasts = resample_labels(to_ras(read_mask(mask)), image.shape, image.affine).array > 0
    return Reading(one_breast(image, breasts, side), notes=reading.notes)


def one_breast(image: Volume, breasts: np.ndarray, side: str) -> Volume:
    """The masked image cut to one breast; ``image`` with axes RAS, ``breasts`` on its grid.

    Raises InputError where that side has none.
    """
    if not breasts.any():
        raise InputError("Its segmentation holds no breast, or lies elsewhere than the image.")
    middle = image.shape[0] // 2
    half = breasts.copy()
    half[middle:] &= side == "right"  # X runs to the right
    half[:middle] &= side == "left"
    if half.sum() < LEAST_SHARE * breasts.sum():
        raise InputError(f"Its segmentation holds no {side} breast.")
    inside = np.argwhere(half)
    low, high = inside.min(0), inside.max(0) + 1
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    return Volume(np.where(half[box], image.array[box], image.array.min()), affine)


def read_mask(path: Path) -> Volume:
    """A segmentation of any number of structures. Raises InputError."""
    import SimpleITK as sitk

    try:
        read = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(f"The segmentation {path.name} cannot be read; get it again.") from error
    array = sitk.GetArrayFromImage(read)
    if read.GetNumberOfComponentsPerPixel() > 1:
        array = array.max(-1)
    affine = np.eye(4)
    affine[:3, :3] = np.array(read.GetDirection()).reshape(3, 3) * read.GetSpacing()
    affine[:3, 3] = read.GetOrigin()
    return Volume((array.transpose(2, 1, 0) > 0).astype(np.uint8), np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)
