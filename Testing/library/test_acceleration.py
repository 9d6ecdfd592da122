"""Faster attention, layout and pooling change nothing but rounding."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from monai.networks.blocks.selfattention import SABlock
from torch import nn

from SynthCTLib import acceleration, few_voxels
from SynthCTLib.acceleration import AveragePool, DoubleAndConvolve, DoublingBlock, accelerate
from SynthCTLib.denoiser import control_residuals, embed_mask, predict
from SynthCTLib.few_voxels import FewVoxelsConv3d
from SynthCTLib.networks import Networks
from Testing.library.small_networks import small_networks


def prediction(networks: Networks, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    torch.manual_seed(1)
    x, mask = torch.randn(1, 4, 8, 8, 8).to(dtype), torch.randint(0, 2, (1, 8, 32, 32, 32)).to(dtype)
    times, kind = torch.tensor([500.0]), torch.tensor([1])
    with torch.inference_mode():
        residuals = control_residuals(networks.controlnet, x, times, embed_mask(networks.controlnet, mask), kind)
        spacing = torch.tensor([[150.0, 150.0, 300.0]]).to(dtype)
        return predict(networks.unet, x, times, residuals, spacing=spacing, class_labels=kind).float()


def accelerated(networks: Networks, dtype: torch.dtype) -> Networks:
    other = copy.deepcopy(networks)
    for part in (other.unet, other.controlnet):
        accelerate(part.to(dtype))
    return other


def test_attention_without_the_matrix_of_all_pairs_gives_the_same_prediction() -> None:
    networks = small_networks("rflow")
    fast = accelerated(networks, torch.float32)
    blocks = [m for m in fast.unet.modules() if isinstance(m, SABlock)]
    assert blocks and all(block.use_flash_attention for block in blocks)
    assert torch.allclose(prediction(fast), prediction(networks), atol=1e-5)


@pytest.mark.parametrize("size", [(4, 4, 4), (1, 3, 5)])
def test_doubling_and_convolving_in_one_layer_is_what_the_two_do(size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv3d(6, 5, 3, padding=1), torch.randn(2, 6, *size)
    expected = conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
    assert (DoubleAndConvolve(conv)(x) - expected).abs().max() < 1e-5


def test_blocks_that_double_the_grid_are_replaced_unless_they_are_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    def doubling(networks: Networks) -> int:
        return sum(isinstance(m, DoublingBlock) for m in networks.unet.modules())

    networks = small_networks("rflow")
    assert doubling(accelerated(networks, torch.float32)) == 2
    monkeypatch.setattr(acceleration, "WIDEST", 8)
    assert doubling(accelerated(networks, torch.float32)) == 0


def test_bfloat16_with_channels_last_and_pooling_comes_close() -> None:
    networks = small_networks("rflow")
    fast = accelerated(networks, torch.bfloat16)
    weights = [p for p in fast.unet.parameters() if p.ndim == 5 and p.shape[1] > 1 and p.shape[2] > 1]
    assert weights and all(w.is_contiguous(memory_format=torch.channels_last_3d) for w in weights)
    exact, rounded = prediction(networks), prediction(fast, torch.bfloat16)
    assert (rounded - exact).norm() / exact.norm() < 0.2  # 8 random channels; the released layout differs by 2 %


def test_products_on_few_voxels_are_as_near_to_float32_as_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_voxels, "FEWEST_CHANNELS", 1)
    networks = small_networks("rflow")
    exact, off = prediction(networks), {}
    for amx in (False, True):
        monkeypatch.setattr(acceleration, "cpu_has", lambda _instructions, has=amx: has)
        fast = accelerated(networks, torch.bfloat16)
        assert any(isinstance(module, FewVoxelsConv3d) for module in fast.controlnet.modules()) is not amx
        off[amx] = float((prediction(fast, torch.bfloat16) - exact).norm())
    assert off[False] < 1.2 * off[True]


def test_float32_keeps_its_layout() -> None:
    fast = accelerated(small_networks("rflow"), torch.float32)
    assert all(p.is_contiguous() for p in fast.unet.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_pooling_is_that_of_float32(dtype: torch.dtype) -> None:
    x = torch.randn(1, 2, 4, 6, 8).to(dtype)
    assert torch.equal(AveragePool(2)(x), nn.AvgPool3d(2)(x.float()).to(dtype))
