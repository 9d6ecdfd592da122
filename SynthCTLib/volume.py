"""A volume: an array with axes (i, j, k) and the affine that puts its voxel centers into RAS millimeters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Volume:
    """``array`` of shape (X, Y, Z); ``affine`` (4, 4) float64, voxel index → RAS mm (center of the voxel)."""

    array: np.ndarray
    affine: np.ndarray

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between voxel centers along each array axis."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along each array axis."""
        x, y, z = self.array.shape
        return int(x), int(y), int(z)

    @property
    def orientation(self) -> str:
        """Anatomical directions that the array axes point to, for example ``RAS`` or ``LPI``."""
        import nibabel as nib  # here, so that a grid can be planned where only NumPy is

        return "".join(nib.aff2axcodes(self.affine))

    def with_array(self, array: np.ndarray) -> Volume:
        """The same grid with other values."""
        return Volume(array, self.affine)
