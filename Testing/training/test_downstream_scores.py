"""Scores and statistics of the downstream experiments against values known by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from SynthCTLib.errors import InputError
from training.downstream.augmentation import KINDS, Augmentation
from training.downstream.scores import OVERALL, score
from training.downstream.segmenter import build_network
from training.downstream.statistics import mean_with_interval, paired_comparison
from training.page_block import fill_block


def cube(shift: int = 0) -> np.ndarray:
    """A cube of class 1 (6 voxels wide) and one voxel column of class 2."""
    classes = np.zeros((16, 12, 12), np.uint8)
    classes[3 + shift : 9 + shift, 3:9, 3:9] = 1
    classes[13, 2:5, 2] = 2
    return classes


def test_dice_and_surface_distance_of_a_cube_moved_by_one_voxel() -> None:
    near = score(cube(1), cube(), ["cube", "column"], (2.0, 2.0, 2.0), tolerance=2.0)
    assert near["cube"]["dice"] == pytest.approx(5 / 6)
    assert near["cube"]["nsd"] == 1 and near["column"] == {"dice": 1, "nsd": 1}
    assert near[OVERALL]["dice"] == pytest.approx((5 / 6 + 1) / 2)
    strict = score(cube(1), cube(), ["cube", "column"], (2.0, 2.0, 2.0), tolerance=1.9)
    assert 0.3 < strict["cube"]["nsd"] < 1
    coarse = score(cube(1), cube(), ["cube", "column"], (4.0, 2.0, 2.0), tolerance=2.0)
    assert coarse["cube"]["nsd"] < 1  # the same voxels, twice as far apart in mm


def test_a_structure_that_was_not_found_has_zero() -> None:
    found = cube()
    found[found == 2] = 0
    assert score(found, cube(), ["cube", "column"], (1.0, 1.0, 1.0), 1.0)["column"] == {"dice": 0, "nsd": 0}


def test_paired_comparison_knows_wilcoxon_p_and_rank_biserial_effect() -> None:
    one_sided = paired_comparison(np.arange(1.0, 7), np.zeros(6))
    assert one_sided["p"] == pytest.approx(2 / 2**6)  # exact: one of 64 signs on either side
    assert one_sided["effect"] == 1 and one_sided["difference"] == 3.5
    mixed = paired_comparison(np.array([0.1, 0.2, 0.3, 0.0]), np.array([0.0, 0.0, 0.0, 0.4]))
    assert mixed["effect"] == pytest.approx((1 + 2 + 3 - 4) / 10)
    low, high = mixed["interval_95"]
    assert mixed["difference"] == pytest.approx(0.05) and low < 0.05 < high
    assert paired_comparison(np.ones(5), np.ones(5)) | {"n": 0} == {
        "difference": 0, "interval_95": [0, 0], "n": 0, "p": 1, "effect": 0
    }  # fmt: skip


def test_the_interval_of_a_mean_is_near_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    found = mean_with_interval(values)
    half = 1.96 * values.std() / 20
    assert found["interval_95"] == pytest.approx([values.mean() - half, values.mean() + half], abs=0.04)


@pytest.mark.parametrize("kind", ["flip", "affine"])
def test_a_change_of_shape_moves_image_and_classes_alike(kind: str) -> None:
    torch.manual_seed(0)
    classes = torch.from_numpy((cube() == 1).astype(np.uint8))[None]
    settings = {"flip": {"flip_probability": 1.0}, "affine": {"translation": (2, 2, 0, 0, 0, 0), "degrees": 0}}
    image, moved = Augmentation({kind: settings[kind]})(classes.float(), classes)
    assert not torch.equal(moved, classes) and moved.dtype == torch.uint8
    assert ((image > 0.5) == (moved == 1)).float().mean() > 0.97


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"flip", "affine"}))
def test_a_change_of_gray_values_leaves_the_classes(kind: str) -> None:
    torch.manual_seed(0)
    classes = torch.from_numpy(cube())[None]
    image = torch.rand(classes.shape)
    changed, same = Augmentation({kind: {"p": 1.0}})(image, classes)
    assert torch.equal(same, classes) and not torch.equal(changed, image) and torch.isfinite(changed).all()


def test_unknown_names_are_told() -> None:
    with pytest.raises(InputError, match="no augmentation 'warp'; use flip, affine"):
        Augmentation({"warp": {}})
    with pytest.raises(InputError, match="no network 'Nothing'; use for example UNet"):
        build_network({"name": "Nothing"}, 2, 0)


def test_a_block_of_a_page_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n<!-- y: begin -->\nkept\n<!-- y: end -->\n")
    fill_block(page, "x", "new")
    fill_block(page, "x", "newer")
    assert page.read_text() == (
        "a\n<!-- x: begin -->\nnewer\n<!-- x: end -->\nb\n<!-- y: begin -->\nkept\n<!-- y: end -->\n"
    )
    with pytest.raises(InputError, match="has no lines '<!-- z: begin -->'"):
        fill_block(page, "z", "new")
