"""Multiplications and memory of a model's networks for one size, counted on PyTorch's meta device without computing."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from SynthCTLib.acceleration import accelerate
from SynthCTLib.autoencoder_layers import decoder_layers
from SynthCTLib.cards import ModelCard
from SynthCTLib.conditions import build_conditions
from SynthCTLib.denoiser import control_residuals, predict
from SynthCTLib.embedding import TILE, embedding_layers
from SynthCTLib.memory_plan import make_plan, plan_for_cut
from SynthCTLib.networks import build_on_meta
from SynthCTLib.refiner import SLAB
from SynthCTLib.regions import Region
from SynthCTLib.seamless import Cut

Size = tuple[int, int, int]


class NetworkWork:
    """Counts for one model card; sizes are voxels of the CT."""

    def __init__(self, card: ModelCard) -> None:
        self._card = card
        self._parts: dict[str, Any] = {
            part: accelerate(build_on_meta(part, card.networks[part]["arguments"]).eval()) for part in card.networks
        }

    def weights(self) -> int:
        """Number of weights that are loaded."""
        return sum(weight.numel() for part in self._parts.values() for weight in part.parameters())

    def denoise(self, size: Size) -> int:
        """Multiplications of one evaluation of ControlNet and U-Net."""
        with FlopCounterMode(display=False) as counter:
            self._evaluate(size)()
        return counter.get_total_flops() // 2

    def denoise_memory(self, size: Size) -> int:
        """Peak bytes of features in float32 during one evaluation; attention never stores all pairs of positions."""
        evaluate = self._evaluate(size)
        with mock.patch("torch.nn.functional.scaled_dot_product_attention", _same_shape), LiveMemory() as memory:
            evaluate()
        return memory.peak

    def embed(self, size: Size) -> tuple[int, int]:
        """Multiplications and peak bytes in float32 of the embedding of a mask."""
        layers = embedding_layers(self._parts["controlnet"], self._card.conditioning["hu_prior"])
        plan = plan_for_cut(layers, size, 1, torch.uint8, Cut(tuple(-(-n // TILE) for n in size)), 0)  # type: ignore[arg-type]
        return plan.work, plan.peak

    def decode(self, size: Size, budget: int) -> tuple[int, int]:
        """Multiplications and peak bytes of decoder and refiner in float32; ``budget``: bytes for decoding."""
        layers = decoder_layers(self._parts["autoencoder"])
        plan = make_plan(layers, self._latent(size), self._card.latent["channels"], torch.float32, budget)
        work, peak = self._refine(size)
        return plan.work + work, max(plan.peak, peak)

    def _refine(self, size: Size) -> tuple[int, int]:
        """Multiplications and peak bytes of the refiner in its slabs; 0 for a model without one."""
        if "refiner" not in self._parts:
            return 0, 0
        refiner = self._parts["refiner"]
        work = peak = 0
        for start in range(0, size[0], SLAB):
            first, last = max(0, start - refiner.reach), min(size[0], start + SLAB + refiner.reach)
            image = torch.empty(1, 1, last - first, *size[1:], device="meta")
            labels = torch.empty(image.shape[1:], dtype=torch.uint8, device="meta")
            with torch.inference_mode(), FlopCounterMode(display=False) as counter, LiveMemory() as memory:
                refiner(image, labels)
            work += counter.get_total_flops() // 2
            peak = max(peak, memory.peak)
        return work, peak

    def _latent(self, size: Size) -> Size:
        x, y, z = (n // self._card.latent["downsampling"] for n in size)
        return x, y, z

    def _evaluate(self, size: Size) -> Callable[[], None]:
        unet, controlnet = self._parts["unet"], self._parts["controlnet"]
        given = build_conditions(self._card.conditioning, (1.0, 1.0, 1.0), Region(1, 1)).to(
            torch.device("meta"), torch.float32
        )
        width = self._card.networks["unet"]["arguments"]["num_channels"][0]
        latent = torch.empty(1, self._card.latent["channels"], *self._latent(size), device="meta")
        embedding = torch.empty(1, width, *self._latent(size), device="meta")
        times = torch.empty(1, device="meta")

        def evaluate() -> None:
            with torch.inference_mode():
                residuals = control_residuals(controlnet, latent, times, embedding, given.class_label)
                predict(
                    unet,
                    latent,
                    times,
                    residuals,
                    spacing=given.spacing,
                    class_labels=given.class_label,
                    top_region=given.top_region,
                    bottom_region=given.bottom_region,
                )

        return evaluate


def _same_shape(query: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return torch.empty_like(query)


class LiveMemory(TorchDispatchMode):
    """Counts the bytes of tensors that are alive; ``peak`` is the most at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._now = 0
        self._alive: dict[int, int] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation and note what it has made."""
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, torch.Tensor):
                self._note(value.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._alive:
            return
        self._alive[key] = storage.nbytes()
        self._now += storage.nbytes()
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self._now -= self._alive.pop(key, 0)


def linear_and_quadratic(voxels: list[int], work: list[int]) -> tuple[float, float]:
    """a and b of work = a · voxels + b · voxels², with the same weight for each relative error."""
    n, w = np.array(voxels, float), np.array(work, float)
    (a, b), *_ = np.linalg.lstsq(np.stack([n / w, n**2 / w], axis=1), np.ones(len(n)), rcond=None)
    return float(a), float(b)
