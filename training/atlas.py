"""Labels carried from a labeled case to an unlabeled one by registration: affine, then B-spline, mutual information.

Mattes et al., IEEE TMI 2003 (mutual information); Rueckert et al., IEEE TMI 1999 (B-spline free-form deformation), as
implemented in SimpleITK. Grids are reduced to 5 mm, which is enough for the approximate labels wanted here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from SynthCTLib.errors import InputError
from training.files import load_array, save_array
from training.prepare import read_cases

if TYPE_CHECKING:
    from training.pseudo_labels import Case

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def to_itk(array: np.ndarray, affine: np.ndarray) -> sitk.Image:
    """A SimpleITK image (LPS) of an RAS array (X, Y, Z) with its affine in mm."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    lps = RAS_TO_LPS @ affine
    spacing = nib.affines.voxel_sizes(affine)
    image.SetSpacing([float(s) for s in spacing])
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


def coarse(image: sitk.Image, mm: float) -> sitk.Image:
    """The image on a grid of ``mm`` spacing, air outside."""
    spacing = [max(mm, s) for s in image.GetSpacing()]
    size = [max(8, round(n * s / t)) for n, s, t in zip(image.GetSize(), image.GetSpacing(), spacing, strict=True)]
    image = sitk.SmoothingRecursiveGaussian(sitk.Cast(image, sitk.sitkFloat32), mm / 2)
    return sitk.Resample(
        image, size, sitk.Transform(), sitk.sitkLinear, image.GetOrigin(), spacing, image.GetDirection(), -1000.0
    )


def register(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """Transform from fixed to moving space; both in HU, clipped to soft tissue and bone."""
    fixed, moving = (sitk.Clamp(coarse(i, 5.0), lowerBound=-900, upperBound=500) for i in (fixed, moving))
    start = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.AffineTransform(3), sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.2, 7)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsGradientDescent(1.0, 150, 1e-5, 10)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([3, 1])
    method.SetSmoothingSigmasPerLevel([2, 0])
    method.SetInitialTransform(start, inPlace=False)
    affine = method.Execute(fixed, moving)
    spline = sitk.BSplineTransformInitializer(fixed, [7, 6, 6], order=3)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.2, 7)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsLBFGSB(numberOfIterations=40)
    method.SetMovingInitialTransform(affine)
    method.SetInitialTransform(spline, inPlace=True)
    method.Execute(fixed, moving)
    combined = sitk.CompositeTransform(3)
    combined.AddTransform(affine)
    combined.AddTransform(spline)
    return combined


def carried_labels(prepared: Path, atlas_id: str, case: Case) -> np.ndarray:
    """Labels of case ``atlas_id`` on the grid of ``case`` (uint8 MAISI ids).

    Kept in ``carried_<atlas>.npy``, which counts as long as it is whole and newer than what it was made from. Raises
    InputError where the atlas is no labeled training CT.
    """
    own, folder = Path(prepared) / case.meta["case_id"], Path(prepared) / atlas_id
    kept, made_from = own / f"carried_{atlas_id}.npy", (own / "ct.npy", folder / "ct.npy", folder / "labels.npy")
    meta = next((m for m in read_cases(prepared, "train") if m["case_id"] == atlas_id), None)
    if meta is None or not all(path.is_file() for path in made_from):
        raise InputError(
            f"label.atlas gives {case.meta['case_id']} the labels of {atlas_id}, which is no prepared training CT with "
            "labels; prepare it, or correct the entry."
        )
    carried = load_array(kept)
    if carried is not None and kept.stat().st_mtime_ns >= max(path.stat().st_mtime_ns for path in made_from):
        return carried
    affine = np.asarray(meta["affine"])
    moving = to_itk(np.load(folder / "ct.npy"), affine)
    labels = to_itk(np.load(folder / "labels.npy"), affine)
    fixed = to_itk(case.hu, np.asarray(case.meta["affine"]))
    transform = register(fixed, moving)
    result = sitk.Resample(labels, fixed, transform, sitk.sitkNearestNeighbor, 0)
    carried = np.ascontiguousarray(sitk.GetArrayFromImage(result).transpose(2, 1, 0))
    save_array(kept, carried)
    return carried
