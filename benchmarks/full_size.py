"""Networks in the released layout with random weights, a random mask, and how a run of them is measured.

The baseline builds them in place in float32. The engine's side is stored once as ``synthct models import --half``
stores NVIDIA's files, by a process of its own, and loaded by the engine's own loader: its peak memory is a user's.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import nn

from SynthCTLib.cards import PARTS, ModelCard, load_card
from SynthCTLib.networks import Networks, build_autoencoder, build_controlnet, build_unet
from SynthCTLib.store import ModelStore

MODEL = "nv-generate-ct-rflow"
SPACING = (0.8, 0.8, 1.5)


@dataclass(frozen=True)
class Measured:
    """Seconds, processor seconds and peak resident memory (bytes) of a run, GPU memory where there is one, its value.

    Processor seconds with one thread depend little on what else runs on the machine.
    """

    seconds: float
    processor_seconds: float
    memory: int
    gpu_memory: int
    value: Any


def random_networks(device: torch.device, dtype: torch.dtype, **autoencoder: object) -> tuple[ModelCard, Networks]:
    """The released layout; the same weights at every call. What MONAI sets to zero gets values, so that it matters."""
    card = load_card(MODEL)
    torch.manual_seed(0)
    parts: dict[str, nn.Module] = {
        "autoencoder": build_autoencoder(card.networks["autoencoder"]["arguments"] | autoencoder),
        "unet": build_unet(card.networks["unet"]["arguments"]),
        "controlnet": build_controlnet(card.networks["controlnet"]["arguments"]),
    }
    with torch.no_grad():
        for part in parts.values():
            for parameter in part.parameters():
                if not parameter.any():
                    parameter.normal_(std=0.02)
    ready = {name: part.requires_grad_(False).eval().to(device, dtype) for name, part in parts.items()}
    return card, Networks(**ready, scale_factor=1.0)  # type: ignore[arg-type]


@contextmanager
def stored_networks() -> Iterator[Path]:
    """A folder of models that holds :func:`random_networks` in half precision, for as long as the block lasts."""
    with tempfile.TemporaryDirectory() as folder:
        measure(_store, folder)
        yield Path(folder)


def _store(folder: str) -> tuple[float, None]:
    card, networks = random_networks(torch.device("cpu"), torch.float32)
    for part in PARTS:
        released = Path(folder) / "released.pt"
        state = getattr(networks, part).state_dict()
        torch.save({"unet_state_dict": state, "scale_factor": 1.0} if part == "unet" else state, released)
        ModelStore(folder).import_files(card, [released], half=True)
        released.unlink()
    return 0.0, None


def random_mask(size: tuple[int, ...]) -> np.ndarray:
    """(X, Y, Z) uint8 label map: a body of blocks of labels."""
    blocks = np.random.default_rng(0).integers(1, 120, [-(-n // 16) for n in size])
    mask = np.kron(blocks, np.ones((16, 16, 16), int))[tuple(slice(n) for n in size)]
    mask[:8], mask[-8:] = 0, 0
    return mask.astype(np.uint8)


def noise(size: tuple[int, ...]) -> torch.Tensor:
    """(1, 4, X/4, Y/4, Z/4) starting point, the same at every call."""
    return torch.randn((1, 4, *(n // 4 for n in size)), generator=torch.Generator().manual_seed(1))


def measure(work: Callable[..., Any], *arguments: Any) -> Measured:
    """Run ``work`` in a fresh process, so that its peak memory is its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(theirs, work, arguments))
    process.start()
    theirs.close()
    try:
        measured: Measured = ours.recv()
    except EOFError:
        raise SystemExit(
            f"{work.__module__} ended without a result; without a traceback above, memory ran out."
        ) from None
    finally:
        process.join()
    return measured


def _child(pipe: Any, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    seconds, value = work(*arguments)
    gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    pipe.send(Measured(seconds, Clock.processor_seconds, peak_memory(), gpu, value))


def peak_memory() -> int:
    """Bytes of memory that this process held at most, weights, libraries and mapped files included."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource  # not there on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Clock:
    """Seconds since the last look, after the device has finished.

    ``processor_seconds``: what the processor took between first and last look, of all clocks of this process.
    """

    processor_seconds = 0.0

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.look()

    def look(self) -> float:
        """Seconds since the last call (or the start)."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now, processor = time.perf_counter(), time.process_time()
        before = getattr(self, "_last", (now, processor))
        self._last = (now, processor)
        Clock.processor_seconds += processor - before[1]
        return now - before[0]


def tell(result: dict[str, Any]) -> None:
    """The last line: one JSON object."""
    print(json.dumps(result))
