"""Where to compute: the device, its precision, its memory, and what to say when the memory does not suffice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch

from SynthCTLib.errors import InputError, ResourceError

DEVICES = ("auto", "cpu", "cuda", "mps")

# PyTorch raises torch.OutOfMemoryError (a RuntimeError) on CUDA and plain RuntimeErrors on MPS and on the CPU.
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def choose_device(text: str = "auto") -> torch.device:
    """The device that ``text`` names: auto (CUDA, else MPS, else CPU), cpu, cuda, cuda:N or mps.

    Raises InputError for an unknown name and ResourceError for a device that this machine does not have.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if text == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    kind, _, index = text.partition(":")
    if kind not in DEVICES[1:] or (index and not (kind == "cuda" and index.isdecimal())):
        raise InputError(f"There is no device called '{text}'; choose one of {', '.join(DEVICES)} or cuda:0, cuda:1 ….")
    if kind == "cuda" and not cuda:
        raise ResourceError("No CUDA device can be used here; install PyTorch for CUDA, or use --device cpu.")
    if index and int(index) >= torch.cuda.device_count():
        raise ResourceError(f"There is no {text}, CUDA devices here: {torch.cuda.device_count()}; choose a lower one.")
    if kind == "mps" and not mps:
        raise ResourceError("No Apple GPU (MPS) can be used here; choose --device cpu.")
    return torch.device(text)


def inference_dtype(device: torch.device) -> torch.dtype:
    """Number format for the weights: half on CUDA, as in the reference; on the CPU bfloat16 if it multiplies it.

    In bfloat16 a denoising step takes a quarter of the time with AMX tiles and half with AVX-512's instructions for it
    (avx512_bf16). CPUs without either have no use for it. Latents stay float32 between steps, and the decoder ends in
    float32. Half precision on MPS has not been checked.
    """
    if device.type == "cuda":
        return torch.float16
    if device.type == "cpu":
        return torch.bfloat16 if cpu_has("amx_bf16") or cpu_has("avx512_bf16") else torch.float32
    return torch.float32


def decoding_dtype(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """Number format for the decoder where the denoiser computes in ``dtype``.

    With AVX-512's instructions for bfloat16 alone, float32 is as fast by Winograd's method (:mod:`winograd`); features
    are stored in float16, whose rounding is an eighth of bfloat16's.
    """
    if device.type == "cpu" and dtype is torch.bfloat16 and not cpu_has("amx_bf16"):
        return torch.float16
    return dtype


def cpu_has(instructions: str) -> bool:
    """Whether the CPU has such instructions, by PyTorch's name for them, as ``amx_bf16``."""
    if not hasattr(torch.cpu, "get_capabilities"):  # older PyTorch cannot say what the CPU has
        return False
    return bool(torch.cpu.get_capabilities().get(instructions, False))


def device_and_dtype(network: torch.nn.Module) -> tuple[torch.device, torch.dtype]:
    """Where the weights of a network are, and in which number format."""
    weight = next(network.parameters())
    return weight.device, weight.dtype


def free_memory(device: torch.device) -> int:
    """Bytes that can still be allocated on the device (on the CPU: without swapping)."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + cached)
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return int(psutil.virtual_memory().available)


def total_memory(device: torch.device) -> int:
    """Bytes of memory that the device has in all: always the same on one machine, unlike :func:`free_memory`."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory())
    return int(psutil.virtual_memory().total)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out, on whichever device."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _OUT_OF_MEMORY)


@contextmanager
def memory_advice(advice: str) -> Iterator[None]:
    """Turn running out of memory inside the block into a ResourceError whose sentence is ``advice``."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(advice) from error
