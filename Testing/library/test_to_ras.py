"""Turning axes to RAS without NiBabel gives what NiBabel gives."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from SynthCTLib.geometry import to_ras
from SynthCTLib.volume import Volume


@pytest.mark.parametrize("seed", range(60))
def test_any_orientation_is_turned_as_nibabel_turns_it(seed: int) -> None:
    generator = np.random.default_rng(seed)
    if seed % 2:
        directions = Rotation.random(random_state=seed).as_matrix()
    else:
        directions = np.eye(3)[generator.permutation(3)] * generator.choice([-1, 1], 3)
    affine = np.eye(4)
    affine[:3, :3] = directions @ np.diag(generator.uniform(0.5, 3, 3))
    affine[:3, 3] = generator.normal(size=3) * 50
    array = generator.integers(0, 99, (3, 4, 5))
    orientation = nib.io_orientation(affine)
    turned = to_ras(Volume(array, affine))
    assert (turned.array == nib.apply_orientation(array, orientation)).all()
    assert np.allclose(turned.affine, affine @ nib.orientations.inv_ornt_aff(orientation, array.shape))
