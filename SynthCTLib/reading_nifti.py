"""Reading NIfTI label maps and images."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np

from SynthCTLib.errors import InputError
from SynthCTLib.reading_values import RawLabels, check_affine, check_shape, missing_affine, read_ids
from SynthCTLib.slabs import slabs
from SynthCTLib.volume import Volume

DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    zlib.error,
    KeyError,
    IndexError,
    OverflowError,
    nib.filebasedimages.ImageFileError,
)
_LABEL_ENTRY = re.compile(rb'<Label Key="(\d+)"[^>]*>\s*<!\[CDATA\[(.*?)\]\]>', re.DOTALL)


def read_nifti_labels(path: Path) -> RawLabels:
    """Read a NIfTI label map (.nii, .nii.gz) of any number type.

    Without sform and qform the axes are taken as RAS with the stored voxel sizes (method 1 of the NIfTI-1 standard),
    and a warning says so. Names come from a label table in the header (TotalSegmentator writes one). Raises InputError.
    """
    image = _open(path)
    shape = check_shape(image.shape, path.name)
    affine, known = _affine(image, path.name)
    try:
        ids = read_ids(lambda part: _slab(image, part), shape, path.name)
    except InputError:
        raise
    except DAMAGE as error:
        raise _damaged(path) from error
    return RawLabels(ids, affine, _names(image), [] if known else [missing_affine(path.name)])


def read_nifti_image(path: Path) -> Volume:
    """Read a NIfTI image (a CT in HU) as float32, axes in file order. Raises InputError."""
    image = _open(path)
    shape = check_shape(image.shape, path.name)
    affine, _ = _affine(image, path.name)
    try:
        values = np.empty(shape, np.float32, order="F")
        for part in slabs(shape):
            values[:, :, part] = _slab(image, part)
    except (*DAMAGE, TypeError) as error:
        raise _damaged(path) from error
    if not np.isfinite(values).all():
        raise InputError(
            f"{path.name} holds values that are not numbers (NaN or infinite); replace them by -1000 (air)."
        )
    return Volume(values, affine)


def _open(path: Path) -> nib.Nifti1Image:
    try:
        # An open file lets a compressed volume be read forward in slabs; a mapped one would be locked on Windows.
        image = nib.load(path, mmap=False, keep_file_open=True)
    except DAMAGE as error:
        raise _damaged(path) from error
    if not isinstance(image, nib.Nifti1Image):
        raise _damaged(path)
    return image


def _slab(image: nib.Nifti1Image, part: slice) -> np.ndarray:
    """The voxels [:, :, part], scaled as the header says."""
    tail = (0,) * (len(image.shape) - 3)
    return np.asanyarray(image.dataobj[(slice(None), slice(None), part, *tail)])


def _damaged(path: Path) -> InputError:
    return InputError(f"{path.name} cannot be read: it is cut off, damaged or not a NIfTI file; export it again.")


def _affine(image: nib.Nifti1Image, name: str) -> tuple[np.ndarray, bool]:
    """(affine, whether the file states it)."""
    header = image.header
    if int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0:
        return check_affine(image.affine, name), True
    sizes = [abs(float(size)) or 1.0 for size in header["pixdim"][1:4]]
    return check_affine(np.diag([*sizes, 1.0]), name), False


def _names(image: nib.Nifti1Image) -> dict[int, str] | None:
    for extension in image.header.extensions:
        content = extension.get_content()
        if isinstance(content, bytes) and b"<LabelTable>" in content:
            found = _LABEL_ENTRY.findall(content)
            return {int(key): name.decode("utf-8", "replace") for key, name in found} or None
    return None
