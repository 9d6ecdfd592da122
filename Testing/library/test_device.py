"""Devices: what is chosen, what is refused, and what counts as running out of memory."""

from __future__ import annotations

import psutil
import pytest
import torch

from SynthCTLib.device import (
    choose_device,
    decoding_dtype,
    free_memory,
    inference_dtype,
    is_out_of_memory,
    memory_advice,
    total_memory,
)
from SynthCTLib.errors import InputError, ResourceError


def have(monkeypatch: pytest.MonkeyPatch, cuda: int, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(("cuda", "mps", "expected"), [(1, True, "cuda"), (0, True, "mps"), (0, False, "cpu")])
def test_auto_prefers_cuda_then_mps_then_cpu(
    monkeypatch: pytest.MonkeyPatch, cuda: int, mps: bool, expected: str
) -> None:
    have(monkeypatch, cuda, mps)
    assert choose_device("auto") == torch.device(expected)


def test_a_device_that_is_there_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, 2, True)
    for text in ("cpu", "cuda", "cuda:1", "mps"):
        assert choose_device(text) == torch.device(text)


@pytest.mark.parametrize(("text", "cuda"), [("cuda", 0), ("cuda:0", 0), ("cuda:2", 2), ("mps", 2)])
def test_a_device_that_is_absent_is_refused_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch, text: str, cuda: int
) -> None:
    have(monkeypatch, cuda, False)
    with pytest.raises(ResourceError, match=r"--device cpu|choose a lower"):
        choose_device(text)


@pytest.mark.parametrize("text", ["gpu", "", "cuda:x", "cpu:1", "auto:0", "CUDA"])
def test_an_unknown_name_is_answered_with_the_known_ones(text: str) -> None:
    with pytest.raises(InputError, match="auto, cpu, cuda, mps"):
        choose_device(text)


def test_free_memory_of_the_cpu_is_between_nothing_and_all() -> None:
    assert 0 < free_memory(torch.device("cpu")) <= total_memory(torch.device("cpu")) == psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("has", "expected"),
    [
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"avx512_f": True}, torch.float32),
    ],
)
def test_the_cpu_computes_in_bfloat16_only_where_it_has_instructions_for_it(
    has: dict[str, bool], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    assert inference_dtype(torch.device("cpu")) is expected


@pytest.mark.parametrize(
    ("has", "expected"), [("amx_bf16", torch.bfloat16), ("avx512_bf16", torch.float16), ("avx512_f", torch.float32)]
)
def test_the_decoder_is_stored_in_float16_where_bfloat16_is_no_faster_than_float32(
    has: str, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {has: True}, raising=False)
    cpu = torch.device("cpu")
    assert decoding_dtype(cpu, inference_dtype(cpu)) is expected
    assert decoding_dtype(torch.device("cuda"), torch.float16) is torch.float16
    assert decoding_dtype(torch.device("mps"), torch.float32) is torch.float32


def test_a_pytorch_that_cannot_say_what_the_cpu_has_computes_in_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert inference_dtype(torch.device("cpu")) is torch.float32


def test_cuda_computes_in_half_precision_and_apple_gpus_in_full() -> None:
    assert inference_dtype(torch.device("mps")) is torch.float32
    assert inference_dtype(torch.device("cuda")) is torch.float16


def test_a_real_failed_allocation_is_recognized() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_running_out_of_memory_becomes_the_advice_and_other_errors_stay() -> None:
    with pytest.raises(ResourceError, match="use less"), memory_advice("use less"):
        raise MemoryError
    with pytest.raises(RuntimeError, match="unrelated"), memory_advice("use less"):
        raise RuntimeError("unrelated")
