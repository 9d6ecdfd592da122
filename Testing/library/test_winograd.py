"""Convolutions by Winograd's method and in float32 for stored half precision are those that PyTorch computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from SynthCTLib import convolution, winograd
from SynthCTLib.convolution import convolve

SIDE = st.integers(1, 21)
END = st.integers(0, 1)
WIDTHS = st.sampled_from([3, 8, 64])


def exact(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, zeros: Any) -> torch.Tensor:
    padded = F.pad(x.double(), [n for pair in reversed(zeros) for n in pair])
    return F.conv3d(padded, weight.double(), None if bias is None else bias.double())


def made(data: Any, size: tuple[int, ...], dtype: torch.dtype, kernel: int = 3) -> tuple[Any, ...]:
    torch.manual_seed(data.draw(st.integers(0, 2**31)))
    channels, out = data.draw(WIDTHS), data.draw(WIDTHS)
    x = torch.randn(1, channels, *size).to(dtype).contiguous(memory_format=torch.channels_last_3d)
    weight = torch.randn(out, channels, *[kernel] * 3).to(dtype) / (channels * 27) ** 0.5
    return x, weight, torch.randn(out).to(dtype) if data.draw(st.booleans()) else None


@settings(max_examples=60, deadline=None)
@given(data=st.data(), size=st.tuples(SIDE, SIDE, SIDE), zeros=st.tuples(*[st.tuples(END, END)] * 3))
def test_any_box_with_any_ends_is_convolved_as_pytorch_does_it(data: Any, size: Any, zeros: Any) -> None:
    size = tuple(max(n, 3 - a - b) for n, (a, b) in zip(size, zeros, strict=True))
    x, weight, bias = made(data, size, torch.float32)
    expected = exact(x, weight, bias, zeros)
    result = winograd.convolve(
        x, winograd.transformed(weight), bias, [before for before, _ in zeros], expected.shape[2:], weight.dtype
    )
    assert result.shape == expected.shape
    assert result.is_contiguous(memory_format=torch.channels_last_3d)
    assert (result - expected).abs().max() < 1e-3 and (result - expected).abs().mean() < 5e-5


@pytest.mark.parametrize("kernel", [1, 3])
@settings(max_examples=20, deadline=None)
@given(data=st.data(), size=st.tuples(*[st.integers(3, 12)] * 3), zeros=st.tuples(*[st.tuples(END, END)] * 3))
def test_stored_half_precision_is_rounded_once_at_the_end(kernel: int, data: Any, size: Any, zeros: Any) -> None:
    zeros = zeros if kernel == 3 else ((0, 0),) * 3
    x, weight, bias = made(data, size, torch.float16, kernel)
    expected = exact(x, weight, bias, zeros)
    for slab in (1, convolution.SLAB):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(convolution, "SLAB", slab)
            result = convolve(x, weight, bias, zeros)
        assert result.dtype is torch.float16
        assert (result - expected).abs().max() <= 1e-3 * expected.abs().max() + 1e-3


def test_the_method_is_chosen_for_wide_layers_of_large_boxes_on_the_cpu() -> None:
    def chosen(channels: int, size: tuple[int, ...], dtype: torch.dtype = torch.float32, kernel: int = 3) -> bool:
        return winograd.suits(torch.empty(channels, channels, *[kernel] * 3, dtype=dtype), size)

    assert chosen(64, (16, 16, 16)) and chosen(64, (16, 16, 16), torch.float16)
    assert not chosen(32, (16, 16, 16))
    assert not chosen(64, (8, 8, 7))
    assert not chosen(64, (1, 64, 64))
    assert not chosen(64, (16, 16, 16), torch.bfloat16)
    assert not chosen(64, (16, 16, 16), kernel=1)
    assert not winograd.suits(torch.empty(64, 64, 3, 3, 3, device="meta"), (16, 16, 16))


def _peak(profile: torch.profiler.profile) -> int:
    """Most bytes that were held at once."""
    alive, peak = 0, 0
    assert profile.profiler is not None
    records = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    for record in sorted(records, key=lambda record: record.start_ns()):
        alive += record.nbytes()
        peak = max(peak, alive)
    return peak


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(
    ("channels", "out", "size"),
    [(64, 64, (20, 18, 22)), (128, 64, (16, 16, 16)), (64, 128, (8, 16, 20)), (64, 64, (256, 4, 4))],
)
def test_a_suited_convolution_takes_the_method_and_no_more_memory_than_it_says(
    dtype: torch.dtype, channels: int, out: int, size: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, channels, *size).to(dtype).contiguous(memory_format=torch.channels_last_3d)
    weight = torch.randn(out, channels, 3, 3, 3).to(dtype) / 40
    bias, around = torch.randn(out).to(dtype), [(1, 1)] * 3
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        result = convolve(x, weight, bias, around)
    assert not any("conv" in event.key for event in profile.key_averages())
    expected = exact(x, weight, bias, around)
    assert (result - expected).abs().mean() < (1e-4 if dtype is torch.float32 else 1e-3)
    peak = _peak(profile)
    said = winograd.kernel_bytes(weight) + winograd.scratch(weight, size)
    assert 0.9 * said < peak - result.nbytes <= said


@pytest.mark.usefixtures("one_thread")
def test_more_threads_give_the_same_bits_take_as_much_more_memory_and_leave_the_number_of_threads() -> None:
    x = torch.randn(1, 64, 18, 20, 22).contiguous(memory_format=torch.channels_last_3d)
    weight, around = torch.randn(64, 64, 3, 3, 3) / 40, [(1, 1)] * 3
    alone, said = convolve(x, weight, None, around), winograd.scratch(weight, (18, 20, 22))
    torch.set_num_threads(2)
    assert torch.equal(convolve(x, weight, None, around), alone)
    assert torch.get_num_threads() == 2
    assert 1.9 * said < winograd.scratch(weight, (18, 20, 22)) <= 2 * said


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_transforming_a_wide_kernel_stays_within_the_memory_that_is_said(
    dtype: torch.dtype, layout: torch.memory_format
) -> None:
    weight = torch.randn(192, 192, 3, 3, 3).to(dtype).contiguous(memory_format=layout)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        kernels = winograd.transformed(weight)
    assert kernels.nbytes <= _peak(profile) <= winograd.kernel_bytes(weight) + winograd.scratch(weight, (4, 4, 4))
