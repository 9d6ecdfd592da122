"""MS-SSIM of pairs: the right value by default, the public notebook's by a flag."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from SynthCTLib.errors import InputError
from Testing.training.medical_diffusion_cases import tiny_config, write_prepared
from training.medical_diffusion.ms_ssim import (
    WEIGHTS,
    compare,
    draw_pairs,
    ms_ssim,
    ms_ssim_as_published,
    scale_weights,
)
from training.scan_files import read_folder
from training.scans import Scan


def noise(seed: int, side: int = 80) -> torch.Tensor:
    return torch.rand(1, 1, side, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def textured(seed: int, shape: tuple[int, int, int]) -> torch.Tensor:
    """A ball with a texture, in air."""
    texture = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    volume = np.where(sum(axis**2 for axis in axes) < 0.7, 0.1 + 0.25 * texture / texture.std(), -1)
    return torch.from_numpy(np.clip(volume, -1, 1).astype(np.float32))[None, None]


def test_the_default_has_the_value_of_another_library() -> None:
    """0.793770: ``pytorch_msssim`` 1.0.0, data_range=2, win_size=5, win_sigma=1.5, these weights."""
    a, b = textured(0, (80, 80, 80)), textured(1, (80, 80, 80))
    assert scale_weights((80, 80, 80)) == pytest.approx(WEIGHTS, abs=1e-4)
    assert ms_ssim(a, b) == pytest.approx(0.793770, abs=1e-5)
    assert ms_ssim(a, a) == pytest.approx(1)


@pytest.mark.parametrize(("shape", "value"), [((80, 80, 80), 0.886655), ((64, 64, 32), 0.932336)])
def test_the_flag_gives_the_value_of_the_public_notebook(shape: tuple[int, int, int], value: float) -> None:
    """The values: ``msssim_3d`` of FirasGit/medicaldiffusion, commit da3d92a, evaluation/pytorch_ssim."""
    assert ms_ssim_as_published(textured(0, shape), textured(1, shape)) == pytest.approx(value, abs=1e-5)


def test_two_uniform_volumes_differ_in_luminance_alone_and_the_flag_repeats_both_faults() -> None:
    a, b = torch.full((1, 1, 80, 80, 80), 0.2), torch.full((1, 1, 80, 80, 80), 0.6)

    def luminance(data_range: float) -> float:
        c1 = (0.01 * data_range) ** 2
        return (2 * 0.2 * 0.6 + c1) / (0.2**2 + 0.6**2 + c1)

    assert ms_ssim(a, b) == pytest.approx(luminance(2) ** scale_weights((80,))[-1], rel=1e-4)
    faulty = luminance(1) ** (4 * WEIGHTS[-1])
    assert ms_ssim_as_published(a, b) == pytest.approx(faulty, rel=1e-3)
    assert ms_ssim_as_published(a, b) < ms_ssim(a, b)


def test_thin_volumes_have_fewer_scales_with_weights_that_still_add_up() -> None:
    assert len(scale_weights((256, 256, 32))) == 3
    assert sum(scale_weights((256, 256, 32))) == pytest.approx(1)
    with pytest.raises(InputError, match="too thin"):
        scale_weights((64, 64, 4))


@pytest.mark.parametrize("side", [5, 9, 10, 19, 20, *range(40, 46), 79])
def test_any_size_that_has_weights_can_be_measured(side: int) -> None:
    assert ms_ssim(noise(0, side), noise(0, side)) == pytest.approx(1, abs=1e-4)


def test_the_notebook_halves_four_times_and_says_where_that_cannot_be() -> None:
    assert ms_ssim_as_published(noise(0, 16), noise(0, 16)) == pytest.approx(1, abs=1e-4)
    assert ms_ssim_as_published(noise(0, 16), -noise(0, 16)) == 0
    with pytest.raises(InputError, match="too thin"):
        ms_ssim_as_published(noise(0, 15), noise(0, 15))


def test_pairs_are_different_and_never_of_a_volume_with_itself() -> None:
    pairs = draw_pairs(60, 1000, np.random.default_rng(0))
    assert len(set(pairs)) == 1000 and all(0 <= j < i < 60 for i, j in pairs)
    assert sorted(draw_pairs(4, 1000, np.random.default_rng(0))) == [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]


def test_copies_of_one_volume_are_seen_to_lack_variety(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    write_prepared(config)
    config["ms-ssim"] |= {"made": str(tmp_path / "made"), "out": str(tmp_path / "ms-ssim.json")}
    hu = np.load(tmp_path / "prepared" / "case0" / "ct.npy")[1:17]
    for number in range(4):
        (tmp_path / "made" / f"{number:03d}").mkdir(parents=True)
        nib.save(nib.Nifti1Image(hu, np.eye(4)), tmp_path / "made" / f"{number:03d}" / "ct.nii.gz")
    compare(config)
    scans, _ = read_folder(tmp_path / "made", [Scan("held-out", hu, None, (3.0, 3.0, 3.0))])
    assert [scan.name for scan in scans] == ["000", "001", "002", "003"]
    result = json.loads((tmp_path / "ms-ssim.json").read_text(encoding="utf-8"))
    assert result["made"]["mean"] == pytest.approx(1) and result["made"]["pairs"] == 6
    assert result["real"]["mean"] < 0.99 and result["gap"] > 0.01
    assert not result["protocol"]["paper_compatible"]
