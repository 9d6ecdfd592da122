"""The denoiser's layers by Winograd's method are the layers that they were."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from SynthCTLib import winograd, winograd_layer
from SynthCTLib.acceleration import accelerate
from SynthCTLib.winograd_layer import WinogradConv3d
from Testing.library.small_networks import small_networks


def winograd_conv(conv: nn.Conv3d) -> WinogradConv3d:
    other = copy.deepcopy(conv)
    other.__class__ = WinogradConv3d
    assert isinstance(other, WinogradConv3d)
    return other


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Sizes of the images that were convolved by Winograd's method."""
    sizes: list[tuple[int, ...]] = []
    convolve = winograd.convolve

    def watched(x: torch.Tensor, *more: object) -> torch.Tensor:
        sizes.append(tuple(x.shape))
        return convolve(x, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(winograd, "convolve", watched)
    return sizes


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("most_kept", [winograd_layer.MOST_KEPT, 0])
def test_images_in_any_layout_give_what_the_convolution_gives(
    images: int, bias: bool, last: bool, most_kept: int, taken: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd_layer, "MOST_KEPT", most_kept)
    monkeypatch.setattr(winograd_layer, "FEWEST_VOXELS", 2048)
    torch.manual_seed(0)
    conv = nn.Conv3d(64, 80, 3, padding=1, bias=bias)
    x = torch.randn(images, 64, 13, 16, 12)
    if last:
        x = x.to(memory_format=torch.channels_last_3d)
    layer = winograd_conv(conv)
    with torch.inference_mode():
        for _again in range(2):
            assert (layer(x) - conv(x)).abs().max() < 1e-3
    assert taken == 2 * images * [(1, 64, 13, 16, 12)]


@pytest.mark.parametrize(
    ("layer", "grid"),
    [
        (nn.Conv3d(64, 64, 3, padding=1), (7, 8, 8)),
        (nn.Conv3d(64, 64, 3, padding=1, stride=2), (16, 16, 16)),
        (nn.Conv3d(64, 64, 3), (16, 16, 16)),
        (nn.Conv3d(64, 64, 3, padding=2, dilation=2), (16, 16, 16)),
        (nn.Conv3d(64, 64, 3, padding=1, padding_mode="replicate"), (16, 16, 16)),
        (nn.Conv3d(128, 128, 3, padding=1, groups=2), (16, 16, 16)),
        (nn.Conv3d(64, 64, 1), (16, 16, 16)),
        (nn.Conv3d(16, 64, 3, padding=1), (16, 16, 16)),
    ],
)
def test_other_layers_and_small_images_are_convolved_directly(
    layer: nn.Conv3d, grid: tuple[int, ...], taken: list[tuple[int, ...]]
) -> None:
    x = torch.randn(1, layer.in_channels, *grid)
    with torch.inference_mode():
        assert torch.equal(winograd_conv(layer)(x), layer(x))
    assert taken == []


def test_wide_layers_are_transformed_anew_and_only_for_many_voxels(taken: list[tuple[int, ...]]) -> None:
    layer = winograd_conv(nn.Conv3d(160, 160, 3, padding=1))
    with torch.inference_mode():
        layer(torch.randn(1, 160, 16, 16, 16))
        assert taken == [] and layer._kernels is None
        layer(torch.randn(1, 160, 32, 16, 16))
    assert len(taken) == 1 and layer._kernels is None


def test_with_more_threads_than_blocks_keep_busy_the_convolution_is_direct(
    taken: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = winograd_conv(nn.Conv3d(64, 64, 3, padding=1))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    with torch.inference_mode():
        layer(torch.randn(1, 64, 8, 8, 8))
        assert winograd.blocks((8, 8, 8)) == 1 and taken == []


def test_gradients_flow_as_through_the_convolution(taken: list[tuple[int, ...]]) -> None:
    conv = nn.Conv3d(64, 64, 3, padding=1)
    layer, x = winograd_conv(conv), torch.randn(1, 64, 8, 8, 8)
    layer(x).square().sum().backward()
    conv(x).square().sum().backward()
    assert taken == [] and torch.allclose(layer.weight.grad, conv.weight.grad)  # type: ignore[arg-type]


def test_kernels_follow_the_weights() -> None:
    layer, x = winograd_conv(nn.Conv3d(64, 64, 3, padding=1)), torch.randn(1, 64, 8, 8, 8)
    with torch.inference_mode():
        before = layer(x)
    other = nn.Conv3d(64, 64, 3, padding=1)
    layer.load_state_dict(other.state_dict())
    with torch.inference_mode():
        assert (layer(x) - other(x)).abs().max() < 1e-3 < (before - other(x)).abs().max()
        copied = copy.deepcopy(layer)
        assert torch.equal(copied(x), layer(x))
        copied.weight.data = torch.zeros_like(copied.weight)
        assert (copied(x) - copied.bias[None, :, None, None, None]).abs().max() < 1e-5
    assert layer.state_dict().keys() == other.state_dict().keys()


def test_kernels_of_weights_whose_changes_are_not_counted_are_not_kept() -> None:
    with torch.inference_mode():
        layer, x = winograd_conv(nn.Conv3d(64, 64, 3, padding=1)), torch.randn(1, 64, 8, 8, 8)
        before = layer(x)
        layer.weight.mul_(2)
        layer.bias.mul_(2)  # type: ignore[union-attr]
        assert (layer(x) - 2 * before).abs().max() < 1e-3


def test_accelerating_takes_every_convolution_in_float32_and_none_in_half() -> None:
    def number(network: nn.Module) -> int:
        return sum(isinstance(module, WinogradConv3d) for module in network.modules())

    unet = small_networks("rflow").unet
    keys = set(accelerate(copy.deepcopy(unet)).state_dict())
    assert number(accelerate(copy.deepcopy(unet).bfloat16())) == 0
    fast = accelerate(unet)
    assert number(fast) > 5 and set(fast.state_dict()) == keys
