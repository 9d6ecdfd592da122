"""World positions never shift, and the model's grid follows the card."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from SynthCTLib.errors import InputError
from SynthCTLib.geometry import resample_image, resample_labels, same_grid, shear, to_ras
from SynthCTLib.grid import axis_rules, plan_grid
from SynthCTLib.regions import Region
from SynthCTLib.volume import Volume

CHEST = Region(1, 1)
LIVER, BODY = 1, 200
GRID = {
    "xy": {"multiple": 16, "min": 64, "max": 192},
    "z": {"multiple": 16, "min": 32, "max": 128},
    "square": True,
    "spacing_xy": [2.0, 4.0],
    "spacing_z": [2.0, 5.0],
    "fov_xy_min": 200,
    "defaults": {
        "chest": {"size": [128, 128, 96], "spacing": [3.0, 3.0, 3.0]},
        "*": {"size": [64, 64, 64], "spacing": [4, 4, 4]},
    },
}
NVIDIA = {
    **GRID,
    "xy": {"choices": [256, 384, 512]},
    "z": {"choices": [128, 256]},
    "spacing_xy": [0.5, 3.0],
    "spacing_z": [0.5, 5.0],
    "fov_xy_min": 256,
    "defaults": {"*": {"size": [256, 256, 128], "spacing": [1.5, 1.5, 2.5]}},
}


def card(grid=GRID) -> SimpleNamespace:
    return SimpleNamespace(grid=grid)


def rotation(degrees: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        turn = np.eye(3)
        i, j = [a for a in range(3) if a != axis]
        turn[[i, i, j, j], [i, j, i, j]] = [np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)]
        matrix = turn @ matrix
    return matrix


def affine_of(spacing, degrees=(0, 0, 0), signs=(1, 1, 1), order=(0, 1, 2), origin=(-71.3, 12.9, 40.7)) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = (rotation(degrees) @ np.diag(np.array(signs, dtype=float)))[:, list(order)] * np.array(spacing)
    affine[:3, 3] = origin
    return affine


AFFINES = {
    "plain": affine_of((2, 2, 2)),
    "anisotropic": affine_of((1.0, 1.3, 5.0)),
    "left-handed": affine_of((1.5, 1.5, 3.0), signs=(-1, 1, 1)),
    "flipped": affine_of((1.5, 1.5, 3.0), signs=(-1, -1, -1)),
    "sagittal": affine_of((1.0, 2.0, 3.0), order=(1, 2, 0)),
    "oblique": affine_of((1.1, 1.7, 2.9), degrees=(11, -17, 23)),
    "oblique, flipped and swapped": affine_of((1.1, 1.7, 2.9), (9, 14, -21), (-1, 1, -1), (2, 0, 1)),
}


def centroid(volume: Volume, label: int | None = None) -> np.ndarray:
    """Center of a label, or center of mass, in RAS mm."""
    weight = (volume.array == label).astype(float) if label is not None else volume.array.astype(float)
    index = np.array([(weight * i).sum() / weight.sum() for i in np.indices(weight.shape)])
    return (volume.affine @ [*index, 1])[:3]


def world(shape, affine: np.ndarray) -> np.ndarray:
    """(3, X, Y, Z): RAS mm of each voxel center."""
    return np.einsum("ab,b...->a...", affine[:3, :3], np.indices(shape).astype(float)) + affine[:3, 3, None, None, None]


def well_inside(positions: np.ndarray, volume_shape, affine: np.ndarray) -> np.ndarray:
    """Which positions (3, X, Y, Z) lie at least one voxel inside a grid."""
    index = np.einsum("ab,b...->a...", np.linalg.inv(affine)[:3, :3], positions - affine[:3, 3, None, None, None])
    last = np.array(volume_shape)[:, None, None, None] - 2
    return ((index >= 1) & (index <= last)).all(axis=0)


@pytest.mark.parametrize("name", AFFINES)
def test_turning_axes_to_ras_moves_no_voxel(name):
    array = np.zeros((5, 6, 7), dtype=np.uint8)
    array[1, 4, 2] = LIVER
    volume = Volume(array, AFFINES[name])
    turned = to_ras(volume)
    assert turned.orientation == "RAS"
    assert np.allclose(centroid(turned, LIVER), centroid(volume, LIVER), atol=1e-9)
    assert sorted(turned.shape) == sorted(volume.shape)


@pytest.mark.parametrize("name", AFFINES)
def test_a_labeled_voxel_keeps_its_world_position_on_a_grid_whose_voxels_meet_it(name):
    """The target grid divides each voxel into 3 × 3 × 3 equal ones, so the label's center must not move at all."""
    array = np.zeros((9, 8, 7), dtype=np.uint8)
    array[2:5, 3, 4] = LIVER
    source = to_ras(Volume(array, AFFINES[name]))
    fine = source.affine @ np.diag([1 / 3, 1 / 3, 1 / 3, 1])
    fine[:3, 3] = (source.affine @ [-1 / 3, -1 / 3, -1 / 3, 1])[:3]
    result = resample_labels(source, [3 * n for n in source.shape], fine)
    assert (result.array == LIVER).sum() == 27 * 3
    assert np.abs(centroid(result, LIVER) - centroid(source, LIVER)).max() < 0.01


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("name", AFFINES)
def test_to_the_model_grid_and_back_every_voxel_keeps_its_place_to_a_hundredth_of_a_millimeter(name, axis):
    """The image holds its own world coordinate, which linear interpolation reproduces: values are positions in mm."""
    shape, affine = (30, 26, 22), AFFINES[name]
    places = world(shape, affine)
    source = Volume(places[axis], affine)
    steps, directions = np.array([2.1, 1.9, 2.4]), rotation((3, 25, -14))
    model = np.eye(4)
    model[:3, :3] = directions * steps
    model[:3, 3] = places.reshape(3, -1).mean(axis=1) - directions @ (steps * 15.7)
    there = resample_image(source, (32, 32, 32), model, fill=1e6)
    model_places = world((32, 32, 32), model)
    covered = well_inside(model_places, shape, affine)
    assert covered.sum() > 1000
    assert np.abs(there.array - model_places[axis])[covered].max() < 0.01

    whole = Volume(model_places[axis], model)
    back = resample_image(whole, shape, affine, fill=1e6)
    covered = well_inside(places, (32, 32, 32), model)
    assert covered.sum() > 1000
    assert np.abs(back.array - places[axis])[covered].max() < 0.01


@pytest.mark.parametrize("name", AFFINES)
def test_the_planned_grid_keeps_positions_and_directions_and_covers_the_anatomy(name):
    array = np.zeros((70, 60, 50), dtype=np.uint8)
    array[10:60, 15:45, 5:45] = LIVER
    source = to_ras(Volume(array, AFFINES[name]))
    grid = plan_grid(source, card(), CHEST)
    result = resample_labels(source, grid.shape, grid.affine)
    directions = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    assert np.allclose(directions, source.affine[:3, :3] / np.linalg.norm(source.affine[:3, :3], axis=0), atol=1e-9)
    volume = (result.array == LIVER).sum() * np.prod(result.spacing)
    assert volume == pytest.approx((source.array == LIVER).sum() * np.prod(source.spacing), rel=0.08)
    assert np.abs(centroid(result, LIVER) - centroid(source, LIVER)).max() <= max(result.spacing) / 2 + 1e-6
    assert all(rule.allows(n, s) for rule, n, s in zip(axis_rules(GRID), grid.shape, result.spacing, strict=True))
    assert not [finding for finding in grid.findings if finding.code == "anatomy-cropped"]


def test_labels_between_turned_grids_stay_in_place():
    ball = np.indices((40, 40, 40)) - 20
    source = Volume(((ball**2).sum(axis=0) < 12**2).astype(np.uint8), affine_of((2, 2, 2)))
    target = affine_of((1.5, 1.5, 1.5), degrees=(20, 10, 30))
    target[:3, 3] = centroid(source, LIVER) - target[:3, :3] @ np.full(3, 31.5)
    result = resample_labels(source, (64, 64, 64), target)
    assert np.abs(centroid(result, LIVER) - centroid(source, LIVER)).max() < 0.05
    assert (result.array == LIVER).sum() * 1.5**3 == pytest.approx((source.array == LIVER).sum() * 8, rel=0.01)


def test_a_voxel_reaches_half_a_voxel_beyond_its_center_also_at_the_border():
    source = Volume(np.full((1, 1, 1), 7, dtype=np.int16), np.diag([4.0, 4.0, 4.0, 1.0]))
    target = np.diag([1.0, 1.0, 1.0, 1.0])
    target[:3, 3] = -3.4
    for function in (resample_labels, lambda *a: resample_image(*a, fill=0)):
        result = function(source, (8, 8, 8), target).array
        assert (result == 7).sum() == 4**3 and result[2:6, 2:6, 2:6].min() == 7
    turned = affine_of((1, 1, 1), degrees=(0, 0, 45), origin=(0, -3.4 * 2**0.5, -3.4))
    for function in (resample_labels, lambda *a: resample_image(*a, fill=0)):
        assert (function(source, (8, 8, 8), turned).array == 7).sum() > 40


def test_the_same_grid_gives_the_same_voxels():
    source = Volume(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), AFFINES["oblique"])
    stored = source.affine.astype(np.float32).astype(float)
    assert same_grid(source, source.shape, stored)
    assert np.array_equal(resample_labels(source, source.shape, stored).array, source.array)
    assert not same_grid(source, (2, 3, 5), source.affine)
    assert not same_grid(source, source.shape, source.affine @ np.diag([1.01, 1, 1, 1]))


def test_an_image_outside_its_source_is_filled_and_stays_integer():
    source = Volume(np.full((4, 4, 4), 40, dtype=np.int16), np.eye(4))
    target = np.eye(4)
    target[0, 3] = -10
    result = resample_image(source, (12, 4, 4), target, fill=-1000)
    assert result.array.dtype == np.int16
    assert (result.array[:10] == -1000).all() and (result.array[10:] == 40).all()


def labeled(shape, spacing, low, high, label=LIVER) -> Volume:
    array = np.zeros(shape, dtype=np.uint8)
    array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = label
    return Volume(array, np.diag([*map(float, spacing), 1.0]))


def test_anatomy_that_fits_gets_the_default_of_its_region():
    source = labeled((100, 80, 100), (3, 3, 3), (10, 10, 2), (90, 70, 98), BODY)
    chest, pelvis = plan_grid(source, card(), CHEST), plan_grid(source, card(), Region(3, 3))
    assert chest.shape == (128, 128, 96)
    assert np.allclose(np.diag(chest.affine)[:3], 3.0)
    assert pelvis.shape[:2] == (80, 80), "the default of 64 voxels does not hold the body even at the coarsest spacing"
    assert pelvis.affine[0, 0] * 80 >= 260


def test_along_the_body_the_grid_ends_with_the_labels():
    source = labeled((100, 100, 200), (3, 3, 2), (10, 10, 20), (90, 70, 120), BODY)
    grid = plan_grid(source, card(), CHEST)
    step = grid.affine[2, 2]
    assert grid.shape[2] * step == pytest.approx(200, abs=0.2)
    assert grid.affine[2, 3] - step / 2 == pytest.approx(39, abs=0.2)


def test_wide_anatomy_gets_first_coarser_then_more_voxels_and_is_never_cut():
    for width, expected in ((350, 128), (480, 128), (600, 160), (700, 192), (900, 192)):
        source = labeled((width // 5 + 4, 60, 40), (5, 5, 5), (2, 10, 2), (width // 5 + 2, 50, 38), BODY)
        grid = plan_grid(source, card(), CHEST)
        assert grid.shape[0] == grid.shape[1] == expected
        assert grid.shape[0] * grid.affine[0, 0] >= width
        columns = (resample_labels(source, grid.shape, grid.affine).array == BODY).any(axis=(1, 2)).sum()
        assert columns * grid.affine[0, 0] == pytest.approx(width, abs=grid.affine[0, 0])


def test_a_grid_that_follows_the_rules_is_kept():
    source = labeled((256, 256, 128), (1.4, 1.4, 2.0), (60, 60, 10), (200, 200, 100), BODY)
    grid = plan_grid(source, card(NVIDIA), CHEST)
    assert grid.kept and grid.shape == source.shape and np.array_equal(grid.affine, source.affine)
    for other in ((256, 256, 127), (256, 250, 128)):
        assert not plan_grid(
            labeled(other, (1.4, 1.4, 2), (60, 60, 10), (200, 200, 100), BODY), card(NVIDIA), CHEST
        ).kept
    small = labeled((256, 256, 128), (0.9, 0.9, 2.0), (60, 60, 10), (200, 200, 100), BODY)
    assert not plan_grid(small, card(NVIDIA), CHEST).kept, "the field of view is below the card's least"


def test_a_grid_stretched_beyond_the_rules_is_kept_when_planned_again():
    source = labeled((250, 60, 60), (4, 4, 4), (5, 10, 5), (245, 50, 55))
    grid = plan_grid(source, card(), CHEST)
    assert grid.shape[0] == 192 and grid.affine[0, 0] > 4.0
    again = plan_grid(resample_labels(source, grid.shape, grid.affine), card(), CHEST)
    assert again.kept and np.array_equal(again.affine, grid.affine)


def test_the_users_size_and_spacing_win():
    source = labeled((100, 80, 100), (3, 3, 3), (10, 10, 2), (90, 70, 98), BODY)
    both = plan_grid(source, card(), CHEST, (64, 64, 32), (4.0, 4.0, 5.0))
    assert both.shape == (64, 64, 32) and np.allclose(np.diag(both.affine)[:3], [4, 4, 5])
    assert "anatomy-cropped" in [finding.code for finding in both.findings]
    only_size = plan_grid(source, card(), CHEST, (96, 96, 64))
    assert only_size.shape == (96, 96, 64) and only_size.affine[0, 0] == pytest.approx(4.0)
    only_spacing = plan_grid(source, card(), CHEST, None, (2.0, 2.0, 3.0))
    assert only_spacing.shape == (144, 144, 96)


@pytest.mark.parametrize(
    ("size", "spacing", "words"),
    [
        ((100, 100, 64), None, "not allowed"),
        ((64, 96, 64), None, "square"),
        (None, (2.0, 3.0, 2.0), "square"),
        (None, (0.0, 0.0, 2.0), "positive"),
        (None, (float("nan"),) * 3, "positive"),
    ],
)
def test_impossible_wishes_are_refused(size, spacing, words):
    source = labeled((100, 80, 100), (3, 3, 3), (10, 10, 2), (90, 70, 98), BODY)
    with pytest.raises(InputError, match=words):
        plan_grid(source, card(), CHEST, size, spacing)


def test_a_sheared_map_is_put_onto_a_straight_grid_in_place():
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[1, 2] = 0.9
    array = np.zeros((60, 60, 60), dtype=np.uint8)
    array[15:45, 15:45, 15:45] = BODY
    source = Volume(array, affine)
    grid = plan_grid(source, card(), CHEST)
    assert shear(grid.affine) < 1e-9 < 0.1 < shear(affine)
    assert [finding.code for finding in grid.findings] == ["sheared"]
    result = resample_labels(source, grid.shape, grid.affine)
    assert np.abs(centroid(result, BODY) - centroid(source, BODY)).max() < 0.1


def test_an_outline_known_from_a_ct_widens_the_grid():
    source = labeled((100, 80, 100), (3, 3, 3), (40, 30, 2), (60, 50, 98))
    wide = np.array([[-120.0, 0, 0], [400.0, 150, 50]])
    grid = plan_grid(source, card(), CHEST, body_points=wide)
    assert grid.affine[0, 3] < -120 and grid.affine[0, 3] + grid.shape[0] * grid.affine[0, 0] > 400


def test_an_empty_map_has_no_grid():
    with pytest.raises(InputError, match="empty"):
        plan_grid(Volume(np.zeros((8, 8, 8), dtype=np.uint8), np.eye(4)), card(), CHEST)


PARALLEL = {
    "finer": np.diag([1.3, 1.4, 2.2, 1.0]),
    "coarser": np.diag([3.1, 2.7, 5.5, 1.0]),
    "flipped": np.diag([-1.3, -1.4, 2.2, 1.0]),
}
ORDERS = {"z fastest": np.ascontiguousarray, "x fastest": np.asfortranarray, "flipped": lambda a: a[::-1, ::-1]}


def between_parallel_grids(name: str, order: str, array: np.ndarray) -> tuple[Volume, np.ndarray, np.ndarray]:
    """A source, an affine for (40, 38, 36) voxels that reaches beyond it, and these voxels' source indices (3, ...)."""
    source = Volume(ORDERS[order](array), np.diag([2.0, 2.0, 3.0, 1.0]))
    target = PARALLEL[name].copy()
    target[:3, 3] = 28.37 - target[:3, :3] @ [20, 19, 18]
    step = np.linalg.inv(source.affine) @ target
    return (
        source,
        target,
        np.einsum("ab,b...->a...", step[:3, :3], np.indices((40, 38, 36))) + step[:3, 3, None, None, None],
    )


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", PARALLEL)
def test_labels_between_parallel_grids_are_those_of_the_nearest_voxel(name, order):
    array = np.random.default_rng(0).integers(1, 255, (30, 28, 18)).astype(np.uint8)
    source, target, index = between_parallel_grids(name, order, array)
    nearest = np.rint(index).astype(int)
    covered = ((nearest >= 0) & (nearest < np.array(source.shape)[:, None, None, None])).all(axis=0)
    expected = np.where(covered, source.array[tuple(np.where(covered, nearest, 0))], 0)
    assert 0 < covered.sum() < covered.size
    assert np.array_equal(resample_labels(source, (40, 38, 36), target).array, expected)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", PARALLEL)
def test_an_image_between_parallel_grids_is_what_scipy_interpolates(name, order, dtype):
    array = np.random.default_rng(0).integers(-1000, 1000, (30, 28, 18)).astype(dtype)
    source, target, index = between_parallel_grids(name, order, array)
    expected = ndimage.map_coordinates(source.array, index, output=dtype, order=1, mode="nearest")
    limit = np.array(source.shape)[:, None, None, None] - 0.5
    expected[((index < -0.5) | (index > limit)).any(axis=0)] = -1000
    assert np.array_equal(resample_image(source, (40, 38, 36), target).array, expected)


def test_halves_are_rounded_away_from_zero_as_scipy_does():
    source = Volume(np.array([-3, -2, 0, 1, 2], dtype=np.int16).reshape(5, 1, 1), np.eye(4))
    target = np.eye(4)
    target[0, 3] = 0.5
    assert resample_image(source, (4, 1, 1), target).array.ravel().tolist() == [-3, -1, 1, 2]
