"""CTs of any generator, from a folder and into one."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from SynthCTLib.errors import InputError
from SynthCTLib.geometry import to_ras
from SynthCTLib.reading import read_image
from training.scans import Scan

FEWEST = 4  # two halves of two


def read_folder(folder: Path, real: list[Scan]) -> tuple[list[Scan], bool]:
    """(CTs of a folder, whether each was made from the mask of the real scan at the same place of the list).

    ``<case>.nii.gz`` for every held-out case, on the grid of its mask, counts as made from the masks; any other names,
    and the numbered folders of ``synthct generate --count``, as made without masks.

    Raises:
        InputError: fewer than FEWEST CTs, or one that was made from a mask has another size than it.
    """
    paths = sorted(
        [*folder.glob("*.nii.gz"), *folder.glob("*.nii"), *folder.glob("*.nrrd"), *folder.glob("*/ct.nii.gz")]
    )
    by_name = {path.name.split(".")[0]: path for path in paths}
    paired = all(scan.name in by_name for scan in real)
    if not paths and any(folder.glob("*/mr.nii.gz")):
        raise InputError(
            f"{folder} holds MR images, and scorecards are about CT; use the stages ms-ssim and md-readers."
        )
    if len(paths) < FEWEST:
        raise InputError(f"{folder} holds {len(paths)} CTs; at least {FEWEST} (NIfTI or NRRD) are needed.")
    if not paired:
        return [_read(path) for path in paths], False
    made = []
    for scan in real:
        read = _read(by_name[scan.name])
        if read.hu.shape != scan.hu.shape:
            raise InputError(
                f"{by_name[scan.name]} has {read.hu.shape} voxels, its mask {scan.hu.shape}: "
                "write the CT on the grid of the mask."
            )
        made.append(Scan(scan.name, read.hu, scan.mask, scan.spacing, scan.group))
    return made, True


def _read(path: Path) -> Scan:
    volume = to_ras(read_image(path))
    hu = np.clip(np.rint(volume.array), -1000, 1000).astype(np.int16)
    name = path.parent.name if path.name == "ct.nii.gz" else path.name.split(".")[0]
    return Scan(name, hu, None, volume.spacing)


def write_scans(folder: Path, scans: list[Scan]) -> None:
    """Write CTs as ``<name>.nii.gz`` and their label maps as ``masks/<name>.nii.gz``."""
    for scan in scans:
        affine = np.diag([*scan.spacing, 1.0])
        for target, array in ((folder, scan.hu), (folder / "masks", scan.mask)):
            if array is not None:
                target.mkdir(parents=True, exist_ok=True)
                part = target / f"part-{scan.name}.nii.gz"
                nib.save(nib.Nifti1Image(array, affine), part)
                part.replace(target / f"{scan.name}.nii.gz")
