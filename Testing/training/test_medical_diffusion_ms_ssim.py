"""MS-SSIM of pairs: the right value by default, the public notebook's by a flag."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.metrics import MultiScaleSSIMMetric

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


def test_the_default_is_the_published_measure_on_data_from_minus_one_to_one() -> None:
    a = noise(0)
    b = 0.7 * a + 0.3 * noise(1)
    metric = MultiScaleSSIMMetric(spatial_dims=3, data_range=2.0, kernel_size=5, weights=WEIGHTS)
    assert scale_weights((80, 80, 80)) == pytest.approx(WEIGHTS, abs=1e-4)
    assert ms_ssim(a, b) == pytest.approx(torch.as_tensor(metric(a, b)).item(), abs=1e-5)
    assert ms_ssim(a, a) == pytest.approx(1)


def test_two_uniform_volumes_differ_in_luminance_alone_and_the_flag_repeats_both_faults() -> None:
    a, b = torch.full((1, 1, 80, 80, 80), 0.2), torch.full((1, 1, 80, 80, 80), 0.6)

    def luminance(data_range: float) -> float:
        c1 = (0.01 * data_range) ** 2
        return (2 * 0.2 * 0.6 + c1) / (0.2**2 + 0.6**2 + c1)

    assert ms_ssim(a, b) == pytest.approx(luminance(2) ** scale_weights((80,))[-1], rel=1e-4)
    faulty = luminance(1) ** (4 * scale_weights((80,))[-1])
    assert ms_ssim_as_published(a, b) == pytest.approx(faulty, rel=1e-3)
    assert ms_ssim_as_published(a, b) < ms_ssim(a, b)


def test_thin_volumes_have_fewer_scales_with_weights_that_still_add_up() -> None:
    assert len(scale_weights((256, 256, 32))) == 3
    assert sum(scale_weights((256, 256, 32))) == pytest.approx(1)
    with pytest.raises(InputError, match="too thin"):
        scale_weights((64, 64, 4))


@pytest.mark.parametrize("side", [5, 9, 10, 19, 20, *range(40, 46), 79])
@pytest.mark.parametrize("measure", [ms_ssim, ms_ssim_as_published])
def test_any_size_that_has_weights_can_be_measured(measure: Callable[..., float], side: int) -> None:
    assert measure(noise(0, side), noise(0, side)) == pytest.approx(1, abs=1e-4)


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
