"""Decoding: whole and in tiles of any size, memory, progress, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from SynthCTLib import decoder
from SynthCTLib.decoder import choose_tile, decode, decode_latent, tile_starts, tile_weights
from SynthCTLib.errors import Cancelled, ModelError, ResourceError
from SynthCTLib.progress import Progress, ProgressEvent
from Testing.library.small_networks import small_autoencoder

ODD = (13, 9, 7)


def magnifier(largest: int = 1000, error: Callable[[], BaseException] = MemoryError) -> tuple[nn.Module, list[int]]:
    """An autoencoder that enlarges the first channel, so that tiles must join without a trace; fails above ``largest``.

    The list receives the longest side of each piece that was to be decoded.
    """
    autoencoder, sides = small_autoencoder(), []

    def decode(z: torch.Tensor) -> torch.Tensor:
        sides.append(max(z.shape[2:]))
        if sides[-1] > largest:
            raise error()
        return functional.interpolate(z[:, :1], scale_factor=4.0)

    autoencoder.decode = decode
    return autoencoder, sides


def enlarged(latent: torch.Tensor, scale_factor: float) -> np.ndarray:
    return functional.interpolate(latent[:, :1] / scale_factor, scale_factor=4.0)[0, 0].clamp(0, 1).numpy()


def test_in_one_piece_it_is_the_autoencoders_output_clipped() -> None:
    autoencoder, latent = small_autoencoder(), torch.randn(1, 4, *ODD) * 3
    with torch.inference_mode():
        raw = autoencoder.decode(latent / 0.9)[0, 0]
    image = decode_latent(autoencoder, latent, 0.9)
    assert raw.min() < 0 or raw.max() > 1
    assert image.dtype == np.float32
    assert image.shape == (52, 36, 28)
    assert np.abs(image - raw.clamp(0, 1).numpy()).max() < 1e-6


def test_half_precision_weights_give_nearly_the_same_image() -> None:
    latent = torch.randn(1, 4, *ODD)
    full = decode_latent(small_autoencoder(), latent, 1.0)
    half = decode_latent(small_autoencoder().to(torch.bfloat16), latent, 1.0)
    assert half.dtype == np.float32
    assert np.abs(half - full).mean() < 0.02


@pytest.mark.parametrize("tile", [1, 2, 3, 5, 8, 12, 13, 50])
def test_tiles_of_any_side_join_without_a_trace(tile: int) -> None:
    autoencoder, _ = magnifier()
    latent = torch.rand(1, 4, *ODD)
    assert np.abs(decode_latent(autoencoder, latent, 0.7, tile=tile) - enlarged(latent, 0.7)).max() < 1e-5


def test_where_a_tile_stands_alone_it_is_what_the_decoder_makes_of_its_window() -> None:
    autoencoder, latent = small_autoencoder(), torch.randn(1, 4, *ODD)
    tiled = decode_latent(autoencoder, latent, 1.0, tile=8)
    corner = decode_latent(autoencoder, latent[:, :, :8, :8], 1.0)
    alone = (slice(0, 4 * tile_starts(13, 8)[1]), slice(0, 4 * tile_starts(9, 8)[1]))
    assert np.abs(tiled[alone] - corner[alone]).max() < 1e-6


def test_tiles_cover_every_voxel_and_overlap_at_every_size() -> None:
    for size in range(1, 50):
        for side in range(1, 30):
            starts = tile_starts(size, side)
            assert starts[0] == 0
            assert starts == [0] if side >= size else starts[-1] == size - side
            assert all(1 <= b - a <= max(1, side - side // 4) for a, b in pairwise(starts))


def test_weights_of_all_tiles_add_up_to_one_and_fade_toward_the_neighbor() -> None:
    starts = [4 * start for start in tile_starts(13, 8)]
    total = np.zeros(52)
    weights = tile_weights(starts, 32)
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + 32] += weight
    assert total == pytest.approx(np.ones(52), abs=1e-6)
    assert weights[0][0] == 1
    assert weights[0][-1] < 0.1


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
def test_out_of_memory_halves_the_tile_until_it_fits(error: Callable[[], BaseException]) -> None:
    autoencoder, sides = magnifier(10, error)
    latent = torch.rand(1, 4, 36, 6, 5)
    decoded = decode(autoencoder, latent, 1.0, tile=36)
    assert sides[:3] == [36, 18, 9]
    assert set(sides[3:]) == {9}
    assert decoded.how() == {"tile": 9, "wanted": 36, "halved": True}
    assert np.abs(decoded.unit - enlarged(latent, 1.0)).max() < 1e-5


def test_when_the_smallest_tile_is_too_large_there_is_advice() -> None:
    autoencoder, sides = magnifier(0)
    with pytest.raises(ResourceError, match="smaller --size"):
        decode_latent(autoencoder, torch.rand(1, 4, 20, 4, 4), 1.0)
    assert sides == [20, 10, 8]


def test_other_errors_are_not_mistaken_for_a_lack_of_memory() -> None:
    autoencoder, sides = magnifier(0, lambda: RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        decode_latent(autoencoder, torch.rand(1, 4, 20, 4, 4), 1.0)
    assert sides == [20]


def test_the_tile_is_chosen_by_the_memory_that_the_device_has_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    used = {}
    for memory in (10**6, 6 * 10**7, 10**10):
        monkeypatch.setattr(decoder, "total_memory", lambda _, memory=memory: memory)
        used[memory] = choose_tile(small_autoencoder(), (24, 24, 24))
    assert used[10**6] == decoder.MINIMUM_TILE
    assert decoder.MINIMUM_TILE < used[6 * 10**7] < 24
    assert used[10**10] == 24


def test_the_same_latent_gives_the_same_bits_however_much_memory_others_use(monkeypatch: pytest.MonkeyPatch) -> None:
    autoencoder, latent = small_autoencoder(), torch.randn(1, 4, 16, 8, 8)
    monkeypatch.setattr(decoder, "total_memory", lambda _: 19 * 10**6)
    images = []
    for free in (10**10, 8 * 10**6):
        monkeypatch.setattr(decoder, "free_memory", lambda _, free=free: free)
        decoded = decode(autoencoder, latent, 1.0)
        assert decoder.MINIMUM_TILE < decoded.tile == decoded.wanted < 16
        images.append(decoded.unit)
    assert (images[0] == images[1]).all()


def test_a_tile_that_does_not_fit_the_free_memory_of_the_cpu_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    autoencoder, sides = magnifier()
    monkeypatch.setattr(decoder, "free_memory", lambda _: 3 * 10**7)
    decoded = decode(autoencoder, torch.rand(1, 4, 24, 24, 24), 1.0)
    assert decoded.how() == {"tile": 12, "wanted": 24, "halved": True}
    assert set(sides) == {12}


def test_each_tile_is_reported_and_cancelling_stops_between_tiles() -> None:
    autoencoder, sides = magnifier()
    latent, events = torch.rand(1, 4, 12, 4, 4), list[ProgressEvent]()
    decode_latent(autoencoder, latent, 1.0, tile=8, progress=Progress(events.append))
    assert [(event.stage, event.step, event.of) for event in events] == [
        ("decode", 0, 2),
        ("decode", 1, 2),
        ("decode", 2, 2),
    ]
    sides.clear()
    with pytest.raises(Cancelled):
        decode_latent(autoencoder, latent, 1.0, tile=8, progress=Progress(None, lambda: len(sides) == 1))
    assert len(sides) == 1


def test_splits_that_lose_voxels_are_reported_as_a_fault_of_the_card() -> None:
    autoencoder = small_autoencoder(num_splits=2, dim_split=0)
    with pytest.raises(ModelError, match="num_splits"):
        decode_latent(autoencoder, torch.rand(1, 4, 13, 4, 4), 1.0)
