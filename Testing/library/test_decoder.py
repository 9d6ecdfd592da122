"""Decoding a latent: clipping, precision, memory, progress, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from SynthCTLib import decoder
from SynthCTLib.decoder import decode, decode_latent
from SynthCTLib.errors import Cancelled, ResourceError
from SynthCTLib.progress import Progress, ProgressEvent
from Testing.library.small_networks import small_autoencoder

ODD = (13, 9, 7)


def fail_above(monkeypatch: pytest.MonkeyPatch, most: int, error: Callable[[], BaseException]) -> list[int]:
    """Make plans of more than ``most`` bytes fail while running; the list receives what was tried."""
    real, tried = decoder.run_seamless, list[int]()
    make = decoder.make_plan

    def planned(*args: Any) -> Any:
        plan = make(*args)
        tried.append(plan.peak)
        return plan

    def run(*args: Any) -> torch.Tensor:
        if tried[-1] > most:
            raise error()
        return real(*args)

    monkeypatch.setattr(decoder, "make_plan", planned)
    monkeypatch.setattr(decoder, "run_seamless", run)
    return tried


def test_it_is_the_autoencoders_output_clipped() -> None:
    autoencoder, latent = small_autoencoder(), torch.randn(1, 4, *ODD) * 3
    with torch.inference_mode():
        raw = autoencoder.decode(latent / 0.9)[0, 0]
    image = decode_latent(autoencoder, latent, 0.9)
    assert raw.min() < 0 or raw.max() > 1
    assert image.dtype == np.float32
    assert image.shape == (52, 36, 28)
    assert np.abs(image - raw.clamp(0, 1).numpy()).max() < 1e-5


def test_a_smaller_budget_gives_the_same_image() -> None:
    autoencoder, latent = small_autoencoder(), torch.randn(1, 4, *ODD)
    whole = decode(autoencoder, latent, 1.0)
    tiled = decode(autoencoder, latent, 1.0, budget=whole.plan.peak // 3)
    assert whole.how()["tiles"] == [1, 1, 1] and tiled.plan.cut.number > 1
    assert not tiled.reduced
    assert np.abs(whole.unit - tiled.unit).max() < 1e-5


def test_half_precision_weights_give_nearly_the_same_image() -> None:
    latent = torch.randn(1, 4, *ODD)
    full = decode_latent(small_autoencoder(), latent, 1.0)
    half = decode_latent(small_autoencoder().to(torch.bfloat16), latent, 1.0)
    assert half.dtype == np.float32
    assert np.abs(half - full).mean() < 0.02


@pytest.mark.parametrize(
    "error",
    [
        MemoryError,
        lambda: torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        lambda: RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried"
        ),
        lambda: RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"),
    ],
)
def test_out_of_memory_plans_with_half_until_it_fits(
    error: Callable[[], BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    autoencoder, latent = small_autoencoder(), torch.rand(1, 4, 30, 10, 9)
    whole = decode(autoencoder, latent, 1.0)
    tried = fail_above(monkeypatch, int(whole.plan.peak * 0.4), error)
    decoded = decode(autoencoder, latent, 1.0)
    assert len(tried) > 1 and tried == sorted(tried, reverse=True)
    assert decoded.reduced and decoded.plan.peak <= whole.plan.peak * 0.4
    assert np.abs(decoded.unit - whole.unit).max() < 1e-5


def test_when_nothing_smaller_helps_there_is_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_above(monkeypatch, 0, MemoryError)
    with pytest.raises(ResourceError, match="smaller --size"):
        decode_latent(small_autoencoder(), torch.rand(1, 4, 20, 4, 4), 1.0)


def test_other_errors_are_not_mistaken_for_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_above(monkeypatch, 0, lambda: RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        decode_latent(small_autoencoder(), torch.rand(1, 4, 20, 4, 4), 1.0)


def test_the_same_latent_gives_the_same_bits_however_much_memory_others_use(monkeypatch: pytest.MonkeyPatch) -> None:
    autoencoder, latent = small_autoencoder(), torch.randn(1, 4, 16, 8, 8)
    peak = decode(autoencoder, latent, 1.0).plan.peak
    monkeypatch.setattr(decoder, "total_memory", lambda _: int(peak * 0.7 / decoder.MEMORY_SHARE))
    images = []
    for free in (10**10, peak):
        monkeypatch.setattr(decoder, "free_memory", lambda _, free=free: free)
        decoded = decode(autoencoder, latent, 1.0)
        assert decoded.plan.cut.number > 1 and not decoded.reduced
        images.append(decoded.unit)
    assert (images[0] == images[1]).all()


def test_what_does_not_fit_the_free_memory_is_cut_more(monkeypatch: pytest.MonkeyPatch) -> None:
    autoencoder, latent = small_autoencoder(), torch.rand(1, 4, 24, 24, 24)
    peak = decode(autoencoder, latent, 1.0).plan.peak
    monkeypatch.setattr(decoder, "free_memory", lambda _: peak // 2)
    decoded = decode(autoencoder, latent, 1.0)
    assert decoded.reduced and decoded.plan.peak <= peak // 2


def test_each_tile_is_reported_and_cancelling_stops_between_tiles() -> None:
    autoencoder = small_autoencoder()
    latent, events = torch.rand(1, 4, 12, 4, 4), list[ProgressEvent]()
    decode_latent(autoencoder, latent, 1.0, progress=Progress(events.append))
    assert {event.stage for event in events} == {"decode"}
    assert [event.step for event in events] == list(range(len(events)))
    assert len({event.of for event in events[1:]}) == 1 and events[-1].step == events[-1].of
    with pytest.raises(Cancelled):
        decode_latent(autoencoder, latent, 1.0, progress=Progress(None, lambda: len(events) > 0))
