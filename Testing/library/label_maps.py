"""Small segmentations in files, as programs write them, for the tests of reading."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

LIVER, SPLEEN, RIGHT_KIDNEY, LEFT_KIDNEY, HEPATIC_TUMOR, COLON, BODY = 1, 3, 5, 14, 26, 62, 200
AFFINE = np.array([[-2.0, 0, 0, 60], [0, -2.0, 0, 70], [0, 0, 3.0, -30], [0, 0, 0, 1]])


def blocks(ids: dict[int, tuple[int, int, int]], shape=(16, 14, 12), dtype=np.uint8) -> np.ndarray:
    """A map with a block of 3³ voxels of each id, centered on the given voxel."""
    array = np.zeros(shape, dtype=dtype)
    for label, (x, y, z) in ids.items():
        array[x - 1 : x + 2, y - 1 : y + 2, z - 1 : z + 2] = label
    return array


def save(path: Path, array: np.ndarray, affine=AFFINE) -> Path:
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def slicer_header(segments: list[dict[str, str]], layered: bool = False) -> dict:
    """The header that Slicer writes; AFFINE in LPS."""
    rows = [[2.0, 0, 0], [0, 2.0, 0], [0, 0, 3.0]]
    header = {
        "space": "left-posterior-superior",
        "space directions": np.array([[np.nan] * 3, *rows] if layered else rows),
        "space origin": [-60.0, -70.0, -30.0],
        "kinds": ["list", "domain", "domain", "domain"] if layered else ["domain"] * 3,
    }
    for number, segment in enumerate(segments):
        header.update({f"Segment{number}_{key}": value for key, value in segment.items()})
    return header


def segment(name: str, value: int, layer: int = 0, tags: str = "") -> dict[str, str]:
    return {"ID": f"Segment_{value}", "Name": name, "LabelValue": str(value), "Layer": str(layer), "Tags": tags}


def codes_of(notes) -> list[str]:
    return [note.code for note in notes]
