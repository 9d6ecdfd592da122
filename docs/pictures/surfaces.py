"""3D pictures by VTK, rendered off screen: the organs of a label map as surfaces, and a CT by volume rendering."""

from __future__ import annotations

import numpy as np
import vtk
from PIL import Image
from scipy import ndimage
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from docs.pictures.slices import Result
from SynthCTLib.labels import BACKGROUND, BODY, load_vocabulary

BACKDROP = (0.055, 0.065, 0.085)
LUNG_OPACITY = 0.45
ROUNDING = 0.7  # standard deviation in voxels of the blur that takes the steps off a label's surface
FROM = (-350.0, 1000.0, 120.0)  # where the viewer is: toward the patient's left, in front, above
MARGIN = 1.03
CAPTION = 34  # pixels at the top of a picture
HIDDEN_GROUPS = {"Muscles"}  # they would cover everything else
# HU, opacity, color: soft tissue as a veil, vessels with contrast in red, bone in ivory.
VOLUME_POINTS = (
    (-1000.0, 0.0, (0.0, 0.0, 0.0)),
    (-80.0, 0.0, (0.80, 0.50, 0.40)),
    (40.0, 0.012, (0.85, 0.42, 0.34)),
    (150.0, 0.06, (0.92, 0.40, 0.30)),
    (200.0, 0.35, (1.0, 0.80, 0.62)),
    (380.0, 0.85, (1.0, 0.97, 0.90)),
    (1500.0, 0.95, (1.0, 1.0, 0.98)),
)


def organs_picture(result: Result, size: tuple[int, int]) -> Image.Image:
    """Every organ as a smooth surface in its color, the lungs translucent, seen from the front and above."""
    renderer = vtk.vtkRenderer()
    hidden = _hidden_labels()
    lobes = set(load_vocabulary().group_ids("lung"))
    for label in (int(value) for value in np.unique(result.labels) if value not in hidden):
        opacity = LUNG_OPACITY if label in lobes else 1.0
        color = load_vocabulary().by_id(label).color
        renderer.AddActor(_surface(result.labels == label, result.spacing, color, opacity))
    return _render(renderer, result, size)


def volume_picture(result: Result, size: tuple[int, int]) -> Image.Image:
    """The CT by ray casting with a bone preset, from the same place as the organs."""
    opacity, color = vtk.vtkPiecewiseFunction(), vtk.vtkColorTransferFunction()
    for hu, alpha, rgb in VOLUME_POINTS:
        opacity.AddPoint(hu, alpha)
        color.AddRGBPoint(hu, *rgb)
    looks = vtk.vtkVolumeProperty()
    looks.SetScalarOpacity(opacity)
    looks.SetColor(color)
    looks.SetInterpolationTypeToLinear()
    looks.ShadeOn()
    looks.SetAmbient(0.45)
    looks.SetDiffuse(0.9)
    looks.SetSpecular(0.25)
    looks.SetScalarOpacityUnitDistance(min(result.spacing))
    mapper = vtk.vtkFixedPointVolumeRayCastMapper()
    mapper.SetInputData(_finer(_image(result.hu, result.spacing)))
    mapper.SetImageSampleDistance(0.5)
    mapper.AutoAdjustSampleDistancesOff()
    mapper.SetSampleDistance(0.8)
    volume = vtk.vtkVolume()
    volume.SetMapper(mapper)
    volume.SetProperty(looks)
    renderer = vtk.vtkRenderer()
    renderer.AddVolume(volume)
    return _render(renderer, result, size)


def _hidden_labels() -> set[int]:
    return {BACKGROUND, BODY} | {label.id for label in load_vocabulary().labels if label.group in HIDDEN_GROUPS}


def _image(array: np.ndarray, spacing: tuple[float, float, float]) -> vtk.vtkImageData:
    """RAS array as VTK image in mm; one voxel of its lowest value around it closes surfaces at the border."""
    padded = np.pad(array.astype(np.float32), 1, constant_values=float(array.min()))
    image = vtk.vtkImageData()
    image.SetDimensions(*padded.shape)
    image.SetSpacing(*spacing)
    image.GetPointData().SetScalars(numpy_to_vtk(padded.ravel(order="F"), deep=True))
    return image


def _finer(image: vtk.vtkImageData) -> vtk.vtkImageData:
    """The image with twice the voxels along each axis, by a windowed sinc."""
    resize = vtk.vtkImageResize()
    resize.SetInputData(image)
    resize.SetResizeMethodToMagnificationFactors()
    resize.SetMagnificationFactors(2, 2, 2)
    resize.SetInterpolator(vtk.vtkImageSincInterpolator())
    resize.Update()
    return resize.GetOutput()


def _surface(
    inside: np.ndarray, spacing: tuple[float, float, float], color: tuple[int, int, int], opacity: float
) -> vtk.vtkActor:
    """Smooth surface of one structure; thin ones keep their thickness."""
    blurred = ndimage.gaussian_filter(np.pad(inside, 2).astype(np.float32), ROUNDING)[1:-1, 1:-1, 1:-1]
    contour = vtk.vtkFlyingEdges3D()
    contour.SetInputData(_image(blurred, spacing))
    contour.SetValue(0, 0.4)
    smooth = vtk.vtkWindowedSincPolyDataFilter()
    smooth.SetInputConnection(contour.GetOutputPort())
    smooth.SetNumberOfIterations(30)
    smooth.SetPassBand(0.03)
    smooth.NormalizeCoordinatesOn()
    smooth.NonManifoldSmoothingOn()
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputConnection(smooth.GetOutputPort())
    normals.SplittingOff()
    mapper = vtk.vtkPolyDataMapper()
    mapper.SetInputConnection(normals.GetOutputPort())
    mapper.ScalarVisibilityOff()
    actor = vtk.vtkActor()
    actor.SetMapper(mapper)
    looks = actor.GetProperty()
    looks.SetColor(*(value / 255 for value in color))
    looks.SetOpacity(opacity)
    looks.SetSpecular(0.25)
    looks.SetSpecularPower(25)
    return actor


def _look_at(renderer: vtk.vtkRenderer, result: Result, size: tuple[int, int]) -> None:
    """From in front of the patient, who looks toward +A, and a little from the left; the same for every picture.

    The whole box of the volume is in the picture, below the line of the caption.
    """
    box = np.array([voxels * mm for voxels, mm in zip(result.hu.shape, result.spacing, strict=True)])
    toward = np.array(FROM) / np.linalg.norm(FROM)  # the viewer
    right = np.cross((0.0, 0.0, 1.0), toward)
    right /= np.linalg.norm(right)
    up = np.cross(toward, right)
    wide, high = np.abs(right) @ box, np.abs(up) @ box  # mm on the screen
    mm_per_pixel = MARGIN * max(wide / size[0], high / (size[1] - CAPTION))
    focus = box / 2 + up * mm_per_pixel * CAPTION / 2
    camera = renderer.GetActiveCamera()
    camera.ParallelProjectionOn()
    camera.SetFocalPoint(*focus)
    camera.SetPosition(*(focus + 1000 * toward))
    camera.SetViewUp(0, 0, 1)
    camera.SetParallelScale(mm_per_pixel * size[1] / 2)
    renderer.ResetCameraClippingRange()


def _render(renderer: vtk.vtkRenderer, result: Result, size: tuple[int, int]) -> Image.Image:
    renderer.SetBackground(*BACKDROP)
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(0)
    window.SetAlphaBitPlanes(1)
    window.SetSize(size[0] * 2, size[1] * 2)  # reduced below, for smooth edges
    window.AddRenderer(renderer)
    renderer.UseDepthPeelingOn()
    renderer.SetMaximumNumberOfPeels(40)
    _look_at(renderer, result, size)
    window.Render()
    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.ReadFrontBufferOff()
    grab.Update()
    image = grab.GetOutput()
    width, height, _ = image.GetDimensions()
    pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3]
    return Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.LANCZOS)
