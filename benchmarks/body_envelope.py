"""How well the body envelope made from labels alone fits the body in the CT, beside a convex hull per slice.

    python benchmarks/body_envelope.py --data FOLDER [--min-labels 20]

FOLDER holds one folder per case with ``ct.nii.gz`` (HU) and ``labels.nii.gz`` (MAISI ids) on the same RAS grid. The
truth is the body outline of the CT. The yardstick is the convex hull of all labels in each slice, grown by the margin
(tried in steps of 2.5 mm) that fits this very case best, so it knows more than the envelope does. Both are compared on
the whole volume: Dice, and mean surface distance in mm (both ways). Deterministic.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage
from skimage.morphology import convex_hull_image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from SynthCTLib.body import body_from_ct, body_from_labels, envelope_confidence
from SynthCTLib.volume import Volume

MARGINS = np.arange(0, 50, 2.5)


def main() -> None:
    """Print one line per case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of case folders")
    parser.add_argument("--min-labels", type=int, default=20, help="skip cases with fewer labels (default 20)")
    arguments = parser.parse_args()
    print(f"{'case':24}{'labels':>7}{'Dice':>8}{'mm':>7}{'confidence':>12}{'hull Dice':>11}{'mm':>7}{'margin':>8}")
    for folder in sorted(arguments.data.iterdir()):
        if not (folder / "ct.nii.gz").exists() or not (folder / "labels.nii.gz").exists():
            continue
        labels = read(folder / "labels.nii.gz", np.uint8)
        count = len(np.unique(labels.array)) - 1
        if count >= arguments.min_labels:
            print(f"{folder.name:24}{count:7}{report(labels, read(folder / 'ct.nii.gz', np.int16))}", flush=True)


def report(labels: Volume, hu: Volume) -> str:
    """The measured columns of one case."""
    truth = body_from_ct(hu)
    envelope = body_from_labels(labels)
    margin, hull = best_hull(labels, truth)
    return (
        f"{dice(envelope, truth):8.4f}{surface_distance(envelope, truth, labels.spacing):7.2f}"
        f"{envelope_confidence(labels):12.2f}"
        f"{dice(hull, truth):11.4f}{surface_distance(hull, truth, labels.spacing):7.2f}{margin:8.1f}"
    )


def read(path: Path, dtype: type) -> Volume:
    """A NIfTI file turned to RAS."""
    image = nib.as_closest_canonical(nib.load(path))
    return Volume(np.asarray(image.dataobj).astype(dtype), image.affine)


def best_hull(labels: Volume, truth: np.ndarray) -> tuple[float, np.ndarray]:
    """The margin in mm with the highest Dice, and the hull of each slice grown by it."""
    distance = np.full(labels.shape, np.inf, np.float32)
    for k in range(labels.shape[2]):
        plane = labels.array[:, :, k] > 0
        if plane.any():
            hull = convex_hull_image(plane)
            distance[:, :, k] = ndimage.distance_transform_edt(~hull, sampling=labels.spacing[:2])
    margin = max(MARGINS, key=lambda reach: dice(distance <= reach, truth))
    return float(margin), distance <= margin


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Overlap of two masks, 0-1."""
    return 2 * float(np.count_nonzero(a & b)) / float(np.count_nonzero(a) + np.count_nonzero(b))


def surface_distance(a: np.ndarray, b: np.ndarray, spacing: tuple[float, float, float]) -> float:
    """Mean distance in mm from the surface voxels of each mask to the nearest surface voxel of the other."""
    surface_a, surface_b = (mask & ~ndimage.binary_erosion(mask, border_value=1) for mask in (a, b))
    to_a, to_b = (ndimage.distance_transform_edt(~surface, sampling=spacing) for surface in (surface_a, surface_b))
    return float(np.concatenate([to_b[surface_a], to_a[surface_b]]).mean())


if __name__ == "__main__":
    main()
