"""A wide convolution on few voxels as one product is the convolution."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from SynthCTLib import acceleration, few_voxels
from SynthCTLib.acceleration import accelerate
from SynthCTLib.cards import load_card
from SynthCTLib.few_voxels import FewVoxelsConv3d, as_product, suits
from SynthCTLib.networks import build_unet
from Testing.library.small_networks import small_networks

LAST = torch.channels_last_3d


def few_voxels_layer(conv: nn.Conv3d) -> FewVoxelsConv3d:
    other = copy.deepcopy(conv)
    other.__class__ = FewVoxelsConv3d
    assert isinstance(other, FewVoxelsConv3d)
    return other


@given(
    number=st.integers(1, 3),
    grid=st.tuples(*[st.integers(1, 6)] * 3).filter(lambda grid: grid[0] * grid[1] * grid[2] <= 40),
    channels=st.integers(1, 5),
    bias=st.booleans(),
    weights_last=st.booleans(),
    input_last=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_every_grid_and_layout_gives_what_the_convolution_gives(
    number: int, grid: tuple[int, int, int], channels: int, bias: bool, weights_last: bool, input_last: bool
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv3d(channels, 4, 3, padding=1, bias=bias)
    x = torch.randn(number, channels, *grid)
    if weights_last:
        conv = conv.to(memory_format=LAST)  # type: ignore[call-overload]
    if input_last:
        x = x.to(memory_format=LAST)
    with torch.inference_mode():
        assert (as_product(x, conv.weight, conv.bias) - conv(x)).abs().max() < 1e-5


def test_only_few_voxels_in_bfloat16_are_a_product(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[int, ...]] = []

    def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        taken.append(tuple(x.shape))
        return x

    monkeypatch.setattr(few_voxels, "as_product", product)
    most = few_voxels.MOST_VOXELS
    layer = few_voxels_layer(nn.Conv3d(2, 3, 3, padding=1))
    with torch.inference_mode():
        layer(torch.randn(1, 2, most, 1, 1))
        layer = layer.bfloat16()
        layer(torch.randn(1, 2, most, 1, 1).bfloat16())
        layer(torch.randn(1, 2, most + 1, 1, 1).bfloat16())
        layer(torch.randn(2, 2, most, 1, 1).bfloat16())
    assert taken == [(1, 2, most, 1, 1)]


def test_in_bfloat16_sums_are_as_exact_as_the_convolution_s() -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv3d(256, 256, 3, padding=1), torch.randn(1, 256, 4, 4, 2)
    half, x_half = copy.deepcopy(conv).bfloat16().to(memory_format=LAST), x.bfloat16()  # type: ignore[call-overload]
    with torch.inference_mode():
        exact = half.float()(x_half.float())
        off = (few_voxels_layer(half.bfloat16())(x_half).float() - exact).square().mean().sqrt()
        usual = (half(x_half).float() - exact).square().mean().sqrt()
    assert off < 1.1 * usual


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv3d(256, 8, 1),
        nn.Conv3d(256, 8, 3),
        nn.Conv3d(256, 8, 3, padding=1, stride=2),
        nn.Conv3d(256, 8, 3, padding=2, dilation=2),
        nn.Conv3d(256, 256, 3, padding=1, groups=2),
        nn.Conv3d(256, 8, 3, padding=1, padding_mode="replicate"),
        nn.Conv3d(64, 64, 3, padding=1),
        nn.ConvTranspose3d(256, 8, 3, padding=1),
    ],
)
def test_other_layers_stay_as_they_are(layer: nn.Module) -> None:
    assert not suits(layer)


def test_the_wide_layers_of_the_released_denoiser_are_taken() -> None:
    with torch.device("meta"):
        unet = build_unet(load_card("nv-generate-ct-rflow").networks["unet"]["arguments"])
    assert sum(suits(module) for module in unet.modules()) > 20


def test_a_grid_that_was_sampled_on_can_be_trained_on() -> None:
    conv = nn.Conv3d(2, 3, 3, padding=1)
    x = torch.randn(1, 2, 3, 5, 2)
    with torch.inference_mode():
        as_product(x, conv.weight, conv.bias)
    gradients = []
    for way in (conv, lambda x: as_product(x, conv.weight, conv.bias)):
        asked = x.clone().requires_grad_()
        way(asked).square().sum().backward()
        gradients.append(asked.grad)
    assert torch.allclose(*gradients, atol=1e-4)


def test_with_amx_layers_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_voxels, "FEWEST_CHANNELS", 1)
    monkeypatch.setattr(acceleration, "cpu_has", lambda instructions: instructions == "amx_bf16")
    fast = accelerate(small_networks("rflow").unet.bfloat16())
    assert not any(isinstance(module, FewVoxelsConv3d) for module in fast.modules())


def test_accelerating_on_other_cpus_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_voxels, "FEWEST_CHANNELS", 1)
    monkeypatch.setattr(acceleration, "cpu_has", lambda _instructions: False)
    unet = small_networks("rflow").unet.bfloat16()
    keys = set(accelerate(copy.deepcopy(unet)).state_dict())
    fast = accelerate(unet)
    assert sum(isinstance(module, FewVoxelsConv3d) for module in fast.modules()) > 5
    assert set(fast.state_dict()) == keys
