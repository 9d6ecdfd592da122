"""Tiles of any shape give what the whole volume gives: decoder and encoder, every way of keeping features."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from SynthCTLib import winograd
from SynthCTLib.autoencoder_layers import Normalize, decoder_layers, encoder_layers
from SynthCTLib.errors import ModelError
from SynthCTLib.seamless import Cut, Moments, barriers, channel_moments, run_seamless, sizes_along
from Testing.library.small_networks import small_autoencoder

SIDE = st.integers(2, 9)
TOLERANCE = 2e-5
"""For features of about 1; 1 HU is 5e-4 of an image's range."""


def lively(**changes: object) -> nn.Module:
    """Random weights large enough for every layer to matter in the output."""
    autoencoder = small_autoencoder(**changes)
    with torch.no_grad():
        for parameter in autoencoder.parameters():
            parameter.normal_(std=0.15) if parameter.ndim > 1 else parameter.add_(torch.randn_like(parameter) * 0.1)
    return autoencoder


def seeded(data: Any) -> torch.Generator:
    return torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))


DECODERS = {name: lively(use_convtranspose=name == "transposed") for name in ("trilinear", "transposed")}


@settings(max_examples=60, deadline=None)
@given(data=st.data(), size=st.tuples(SIDE, SIDE, SIDE), kind=st.sampled_from(sorted(DECODERS)))
def test_any_cut_of_any_latent_decodes_to_the_whole_image(data: Any, size: tuple[int, int, int], kind: str) -> None:
    autoencoder = DECODERS[kind]
    counts = data.draw(st.tuples(*(st.integers(1, n) for n in size)))
    layers = decoder_layers(autoencoder)
    kept = data.draw(st.sets(st.sampled_from(sorted(barriers(layers)))))
    latent = torch.randn((1, 4, *size), generator=seeded(data))
    with torch.inference_mode():
        whole = autoencoder.decode(latent)
    assert (run_seamless(layers, latent, Cut(counts), kept) - whole).abs().max() < TOLERANCE


@settings(max_examples=40, deadline=None)
@given(data=st.data(), size=st.tuples(*[st.integers(8, 30)] * 3))
def test_any_cut_of_any_image_encodes_to_the_whole_latent(data: Any, size: tuple[int, int, int]) -> None:
    autoencoder = DECODERS["trilinear"]
    layers = encoder_layers(autoencoder)
    counts = data.draw(st.tuples(*(st.integers(1, n // 4) for n in size)))
    kept = data.draw(st.sets(st.sampled_from(sorted(barriers(layers)))))
    image = torch.rand((1, 1, *size), generator=seeded(data))
    with torch.inference_mode():
        whole, _ = autoencoder.encode(image)
    result = run_seamless(layers, image, Cut(counts), kept)
    assert result.shape == whole.shape
    assert (result - whole).abs().max() < TOLERANCE


@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 0.5), (torch.float16, 10.0)])
def test_tiles_of_wide_layers_differ_from_the_whole_by_less_than_an_hu(dtype: torch.dtype, most: float) -> None:
    """Layers as wide as MAISI's are convolved in another way (``winograd``); a CT's standard deviation is 500 HU."""
    autoencoder = lively(num_channels=[64, 64, 64], norm_num_groups=32)
    latent = torch.randn((1, 4, 7, 6, 5), generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        whole = autoencoder.decode(latent)
    layers = decoder_layers(autoencoder.to(dtype))
    assert winograd.suits(layers[-4].weight, (14, 24, 20))
    off = (run_seamless(layers, latent.to(dtype), Cut((2, 1, 1))) - whole).abs() / whole.std() * 500
    assert off.max() < most and off.mean() < most / 5


def test_statistics_of_each_tile_alone_would_leave_seams() -> None:
    """The yardstick of the tests above: they fail for tiles that are normalized one by one."""
    autoencoder, latent = DECODERS["trilinear"], torch.randn(1, 4, 4, 4, 24)
    with torch.inference_mode():
        whole = autoencoder.decode(latent)
        half = autoencoder.decode(latent[..., :16])
    far = 4 * (16 - 12)  # the kernels reach less than 12 latent voxels, so that only the statistics differ here
    assert (half[..., :far] - whole[..., :far]).abs().max() > 1000 * TOLERANCE


def test_every_layer_asks_for_what_it_needs_and_nothing_outside_the_volume() -> None:
    for layers, size in ((decoder_layers(DECODERS["transposed"]), (5, 4, 3)), (encoder_layers(lively()), (17, 12, 9))):
        sizes = sizes_along(layers, size)
        for layer, (before, after) in zip(layers, pairwise(sizes), strict=True):
            assert layer.size(before) == after
            for box in Cut(after).boxes(after):
                needed = layer.needs(box, before)
                assert all(0 <= a < b <= n for (a, b), n in zip(needed, before, strict=True))


@pytest.mark.parametrize("counts", [(1, 1, 1), (3, 2, 5), (7, 7, 7)])
def test_tiles_cover_each_voxel_once(counts: tuple[int, int, int]) -> None:
    size = (10, 7, 9)
    covered = torch.zeros(size, dtype=torch.int)
    for box in Cut(counts).boxes(size):
        covered[tuple(slice(a, b) for a, b in box)] += 1
    assert (covered == 1).all()


def test_moments_over_tiles_are_those_of_group_normalization() -> None:
    x = torch.randn(1, 6, 5, 4, 8) * 3 + torch.arange(6).view(1, 6, 1, 1, 1) * 10
    moments = Moments()
    for tile in x.split(3, dim=4):
        moments.add(tile)
    mean, variance = moments.by_group(2)
    groups = x.view(2, -1)
    assert torch.allclose(mean, groups.mean(1).repeat_interleave(3), atol=1e-5)
    assert torch.allclose(variance, groups.var(1, unbiased=False).repeat_interleave(3), rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("device", ["cpu", "another"])
def test_moments_are_exact_far_from_zero_in_any_precision_on_any_device(dtype: torch.dtype, device: str) -> None:
    class Elsewhere(torch.Tensor):
        """Says that it is on another device, for which the moments are summed in another way."""

        device = torch.device("meta")

    x = (torch.randn(3000, 4) + 50).to(dtype)
    expected = x.double().T
    mean, variance = channel_moments(x if device == "cpu" else x.as_subclass(Elsewhere))
    assert mean.dtype is variance.dtype is torch.float32
    assert torch.allclose(mean.double(), expected.mean(1), rtol=1e-5)
    assert torch.allclose(variance.double(), expected.var(1, correction=0), rtol=1e-4)


def test_progress_counts_tiles_of_all_sweeps_and_can_stop_the_work() -> None:
    layers, told = decoder_layers(DECODERS["trilinear"]), list[tuple[int, int]]()
    run_seamless(layers, torch.randn(1, 4, 4, 4, 4), Cut((2, 1, 1)), (), lambda done, of: told.append((done, of)))
    sweeps = len(barriers(layers)) + 1
    assert told == [(i + 1, 2 * sweeps) for i in range(2 * sweeps)]

    def stop(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_seamless(layers, torch.randn(1, 4, 4, 4, 4), Cut((2, 1, 1)), (), stop)


def test_half_precision_ends_in_float32() -> None:
    layers = decoder_layers(lively().to(torch.bfloat16))
    norm = layers[-2]
    assert isinstance(norm, Normalize) and norm.dtype is torch.float32
    output = run_seamless(layers, torch.randn(1, 4, 4, 4, 4).bfloat16(), Cut((2, 2, 2)))
    assert output.dtype is torch.float32


def test_an_autoencoder_with_attention_is_refused() -> None:
    with pytest.raises(ModelError, match="without attention"):
        decoder_layers(small_autoencoder(attention_levels=[False, False, True]))


def test_half_precision_stays_within_two_hu_on_average_in_the_released_layout() -> None:
    """Random weights; the image is scaled to the standard deviation of a CT, 500 HU."""
    autoencoder = lively(num_channels=[64, 128, 256], num_res_blocks=[2, 2, 2], norm_num_groups=32)
    latent = torch.randn((1, 4, 4, 4, 4), generator=torch.Generator().manual_seed(0))
    exact = run_seamless(decoder_layers(autoencoder), latent, Cut((1, 1, 1)))
    autoencoder.half()
    rounded = run_seamless(decoder_layers(autoencoder), latent.half(), Cut((1, 1, 1)))
    assert (rounded - exact).abs().mean() / exact.std() * 500 < 2
