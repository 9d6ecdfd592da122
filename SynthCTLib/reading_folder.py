"""Reading a folder of masks, one file per structure, as TotalSegmentator writes it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from SynthCTLib.compose import Composer
from SynthCTLib.errors import InputError
from SynthCTLib.findings import Finding
from SynthCTLib.labels import Vocabulary
from SynthCTLib.reading_nifti import read_nifti_labels
from SynthCTLib.reading_nrrd import Layers, read_nrrd
from SynthCTLib.reading_values import RawLabels
from SynthCTLib.slabs import count_ids
from SynthCTLib.volume import Volume

SUFFIXES = (".nii.gz", ".nii", ".nrrd")


def mask_files(folder: Path) -> list[Path]:
    """The images in a folder, sorted by name; hidden files (macOS makes ``._…``) and everything else are left out."""
    files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in files if path.name.lower().endswith(SUFFIXES))


def stem(path: Path) -> str:
    """The file's name without its image suffix: the name of the structure."""
    suffix = next(suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix))
    return path.name[: -len(suffix)]


def read_folder(
    folder: Path, vocabulary: Vocabulary, resolve: Callable[[list[str]], dict[str, int]]
) -> tuple[Volume, list[Finding]]:
    """Compose all masks of ``folder`` into one label map of MAISI ids.

    ``resolve`` turns structure names into MAISI ids (0 = leave out) and raises InputError for unknown ones. A mask is
    what is nonzero; all must share one grid. Raises InputError.
    """
    files = mask_files(folder)
    if not files:
        raise InputError(
            f"The folder {folder.name} holds no masks (.nii, .nii.gz or .nrrd); give one file per structure."
        )
    ids = resolve([stem(path) for path in files])
    composer: Composer | None = None
    affine = np.eye(4)
    notes: list[Finding] = []
    for path in files:
        label = ids[stem(path)]
        if not label:
            continue
        raw = _read_mask(path)
        if composer is None:
            composer, affine = Composer(raw.array.shape, vocabulary), raw.affine
            notes.extend(raw.notes)
        elif raw.array.shape != composer.array.shape or not np.allclose(raw.affine, affine, atol=1e-2):
            raise InputError(
                f"{path.name} lies on another grid than the other masks in {folder.name}; resample it to theirs."
            )
        composer.add(partial(_mask_ids, raw.array, label))
    if composer is None:
        raise InputError(f"The label map leaves out every mask in {folder.name}; name at least one structure.")
    return Volume(composer.array, affine), notes + composer.overlaps()


def _mask_ids(mask: np.ndarray, label: int, part: slice) -> np.ndarray:
    return (mask[:, :, part] != 0).astype(np.uint8) * np.uint8(label)


def _read_mask(path: Path) -> RawLabels:
    raw = read_nrrd(path) if path.name.lower().endswith(".nrrd") else read_nifti_labels(path)
    if isinstance(raw, Layers):
        raise InputError(
            f"{path.name} is a Slicer segmentation, not a mask; give that file alone instead of its folder."
        )
    values = np.flatnonzero(count_ids(raw.array))
    if (values != 0).sum() > 1:
        raise InputError(
            f"{path.name} holds several labels ({', '.join(map(str, values[values != 0][:5]))}) where one mask per "
            "file is expected; give the label map itself instead of its folder."
        )
    return raw
