"""The chosen grid is a box around its voxels, and a volume to draw on."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is missing (extra module-test)")

from SynthCTModule.GridBox import drawOn, showGridBox, templateVolume
from SynthCTModule.SegmentationExchange import addLabelSegment
from SynthCTModule.SegmentationLayers import referenceGrid
from SynthCTModule.VoxelGrid import Grid, arrayFromImage, arrayFromMatrix, volumeGrid
from Testing.mrml.samples import GRIDS, LIVER, emptySegmentation


def edges(grid: Grid) -> np.ndarray:
    """The eight corners (8, 3) of the outermost voxels, sorted."""
    picks = np.array(list(np.ndindex(2, 2, 2))) * np.array(grid.shape) - 0.5
    points = picks @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    return points[np.lexsort(np.round(points, 3).T)]


def boxEdges(box) -> np.ndarray:
    toWorld = arrayFromMatrix(box.GetObjectToWorldMatrix())
    half = np.array(box.GetSize()) / 2
    picks = (np.array(list(np.ndindex(2, 2, 2))) * 2 - 1) * half
    points = picks @ toWorld[:3, :3].T + toWorld[:3, 3]
    return points[np.lexsort(np.round(points, 3).T)]


@pytest.mark.parametrize("name", GRIDS)
def test_the_box_goes_around_all_voxels(scene, name):
    grid = Grid((20, 18, 16), GRIDS[name])
    box = showGridBox(grid, "Grid", scene)
    assert np.allclose(boxEdges(box), edges(grid), atol=0.01)
    assert box.GetLocked() and not box.GetDisplayNode().GetHandlesInteractive()


def test_a_box_moves_to_another_grid(scene):
    box = showGridBox(Grid((20, 18, 16), GRIDS["plain"]), "Grid", scene)
    other = Grid((64, 64, 32), GRIDS["turned"])
    assert showGridBox(other, "Grid", scene, box) is box
    assert np.allclose(boxEdges(box), edges(other), atol=0.01)
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == 1


def test_sheared_axes_get_the_nearest_box(scene):
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[0, 2] = 0.1
    box = showGridBox(Grid((20, 18, 16), affine), "Grid", scene)
    axes = arrayFromMatrix(box.GetObjectToWorldMatrix())[:3, :3]
    assert np.allclose(axes @ axes.T, np.eye(3), atol=1e-9) and np.allclose(axes, np.eye(3), atol=0.05)


@pytest.mark.parametrize("name", GRIDS)
def test_the_empty_volume_has_the_grid_and_segmentations_take_it_over(scene, name):
    grid = Grid((20, 18, 16), GRIDS[name])
    volume = templateVolume(grid, "Template", scene)
    assert volumeGrid(volume).shape == grid.shape and np.allclose(volumeGrid(volume).affine, grid.affine)
    assert (arrayFromImage(volume.GetImageData()) == -1000).all()
    node = emptySegmentation(scene)
    addLabelSegment(node, LIVER)
    drawOn(node, volume)
    drawn = referenceGrid(node)
    assert drawn.shape == grid.shape and np.allclose(drawn.affine, grid.affine, atol=1e-4)
