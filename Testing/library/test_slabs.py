"""Passes over a volume give what plain NumPy gives on the whole of it, however it lies in memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from SynthCTLib import slabs
from SynthCTLib.anatomy import label_places
from SynthCTLib.slabs import count_ids, id_profiles, in_file_order, occupied_box
from SynthCTLib.volume import Volume

LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "z fastest": np.ascontiguousarray,
    "x fastest": np.asfortranarray,
    "flipped as LPS files are": lambda array: np.asfortranarray(array)[::-1, ::-1],
    "axes swapped": lambda array: np.ascontiguousarray(array).transpose(1, 2, 0),
    "every second voxel": lambda array: np.asfortranarray(array)[::2, 1::2, ::-2],
}


def blocks_of_labels(dtype: type = np.uint8) -> np.ndarray:
    """Boxes of labels, the last id of a byte among them, with some single voxels and empty planes."""
    random = np.random.default_rng(0)
    array = np.zeros((37, 26, 41), dtype)
    for label in (1, 7, 7, 200, 255, 3):
        low = random.integers(0, 20, 3)
        array[tuple(slice(a, a + size) for a, size in zip(low, random.integers(1, 15, 3), strict=True))] = label
    array[random.integers(0, 37, 30), random.integers(0, 26, 30), random.integers(0, 35, 30)] = 9
    return array


@pytest.fixture(autouse=True, params=[37, 5000, 2**21])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planes one by one, a few at a time, and all at once."""
    monkeypatch.setattr(slabs, "RUN_VOXELS", request.param)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_voxels_per_id_are_those_of_bincount(layout: str) -> None:
    array = LAYOUTS[layout](blocks_of_labels())
    assert np.array_equal(count_ids(array), np.bincount(array.ravel(), minlength=256))
    wide = LAYOUTS[layout](blocks_of_labels(np.uint16) * 250)
    assert np.array_equal(count_ids(wide), np.bincount(wide.ravel(), minlength=65536))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_voxels_per_plane_and_id_are_those_of_a_comparison_with_each_id(layout: str) -> None:
    array = LAYOUTS[layout](blocks_of_labels())
    profiles = id_profiles(array)
    for axis, others in enumerate([(1, 2), (0, 2), (0, 1)]):
        expected = np.stack([(array == label).sum(axis=others) for label in range(256)], axis=1)
        assert np.array_equal(profiles[axis], expected)


def test_a_map_without_any_runs_is_counted_as_well() -> None:
    array = np.random.default_rng(1).integers(0, 256, (11, 12, 13)).astype(np.uint8)
    assert np.array_equal(count_ids(array), np.bincount(array.ravel(), minlength=256))
    assert np.array_equal(id_profiles(array)[2][4], np.bincount(array[:, :, 4].ravel(), minlength=256))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_places_of_labels_are_those_of_their_voxels(layout: str) -> None:
    array = LAYOUTS[layout](blocks_of_labels())
    affine = np.diag([1.5, 2.0, 2.5, 1.0])
    affine[:3, 3] = (-40, 30, 7)
    places = label_places(Volume(array, affine))
    assert list(places) == [label for label in np.unique(array).tolist() if label]
    for label, place in places.items():
        voxels = np.argwhere(array == label)
        assert place.voxels == len(voxels)
        assert place.low == tuple(voxels.min(axis=0)) and place.high == tuple(voxels.max(axis=0))
        assert place.centroid == pytest.approx(voxels.mean(axis=0) * [1.5, 2.0, 2.5] + [-40, 30, 7], abs=1e-9)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_occupied_box_holds_all_voxels_and_no_plane_more(layout: str) -> None:
    array = LAYOUTS[layout](blocks_of_labels())
    box, voxels = occupied_box(array), np.argwhere(array)
    assert box is not None
    assert np.array_equal(box, (voxels.min(axis=0), voxels.max(axis=0)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_file_order_changes_no_voxel_and_copies_only_what_is_not_in_it(layout: str) -> None:
    array = LAYOUTS[layout](blocks_of_labels(np.int16))
    ordered = in_file_order(array)
    assert np.array_equal(ordered, array) and ordered.flags.f_contiguous and ordered.dtype == np.int16
    assert (ordered is array) == array.flags.f_contiguous
