"""Plans for the seamless decoder: what fits, what it costs, and that a plan runs as planned."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from SynthCTLib.autoencoder_layers import decoder_layers
from SynthCTLib.decoder import MEMORY_SHARE
from SynthCTLib.memory_plan import HARDLY_MORE, SMALL, features_along, make_plan, plan_for_cut
from SynthCTLib.networks import build_on_meta
from SynthCTLib.seamless import Cut, run_seamless
from Testing.library.small_networks import AUTOENCODER, small_autoencoder

RELEASED = AUTOENCODER | {"num_channels": [64, 128, 256], "num_res_blocks": [2, 2, 2], "norm_num_groups": 32}
LAYERS = decoder_layers(build_on_meta("autoencoder", RELEASED).to(torch.float16))  # type: ignore[arg-type]
GB = 10**9


def test_what_is_small_and_fits_is_decoded_in_one_piece() -> None:
    plan = make_plan(LAYERS, (32, 16, 16), 4, torch.float16, 16 * GB)
    assert plan.cut.counts == (1, 1, 1)
    assert plan.peak <= SMALL


def test_memory_that_tiles_can_spare_is_not_taken_even_if_it_is_there() -> None:
    one = plan_for_cut(LAYERS, (64, 64, 64), 4, torch.float16, Cut((1, 1, 1)), 0)
    plan = make_plan(LAYERS, (64, 64, 64), 4, torch.float16, 200 * GB)
    assert plan.cut.number > 1 and plan.peak < 0.75 * one.peak
    assert plan.work < 1.1 * one.work


@pytest.mark.parametrize(
    ("memory", "dtype"), [(16 * GB, torch.float16), (24 * GB, torch.bfloat16), (24 * GB, torch.float32)]
)
@pytest.mark.parametrize("depth", [128, 192])
def test_the_largest_volumes_of_the_released_model_fit_a_gpu_of_16_gb_and_24_gb_beside_a_cpu(
    depth: int, memory: int, dtype: torch.dtype
) -> None:
    """512×512×512 and 512×512×768 with the share of the memory that decoding takes, at at most six times the work."""
    layers = decoder_layers(build_on_meta("autoencoder", RELEASED).to(dtype))  # type: ignore[arg-type]
    budget = int(memory * MEMORY_SHARE)
    plan = make_plan(layers, (128, 128, depth), 4, dtype, budget)
    one = plan_for_cut(layers, (128, 128, depth), 4, dtype, Cut((1, 1, 1)), 0)
    assert plan.peak <= budget < one.peak
    assert plan.work < 6 * one.work


def test_more_memory_never_means_more_work() -> None:
    plans = [make_plan(LAYERS, (128, 128, 128), 4, torch.float16, gb * GB) for gb in (4, 8, 16, 24, 48, 96, 192)]
    assert all(plan.peak <= gb * GB for plan, gb in zip(plans, (4, 8, 16, 24, 48, 96, 192), strict=True))
    for less, more in pairwise(plans):
        assert more.work <= HARDLY_MORE * less.work
    assert plans[-1].work < plans[0].work / 3


def test_when_nothing_fits_the_plan_is_the_smallest_there_is() -> None:
    none = make_plan(LAYERS, (64, 64, 64), 4, torch.float16, 0)
    assert none.peak == min(
        make_plan(LAYERS, (64, 64, 64), 4, torch.float16, budget).peak for budget in (0, GB // 10, GB, 20 * GB)
    )


def test_channels_and_precision_are_known_along_the_chain() -> None:
    autoencoder = small_autoencoder().to(torch.bfloat16)
    layers = decoder_layers(autoencoder)  # type: ignore[arg-type]
    features = features_along(layers, 4, torch.bfloat16)
    assert (features[0].main, features[0].value) == (4, 2)
    assert (features[-1].main, features[-1].skip, features[-1].value) == (1, 0, 4)


def test_a_plan_gives_the_image_of_the_whole_volume() -> None:
    autoencoder = small_autoencoder()
    layers = decoder_layers(autoencoder)  # type: ignore[arg-type]
    latent = torch.randn(1, 4, 20, 11, 9)
    with torch.inference_mode():
        whole = autoencoder.decode(latent)  # type: ignore[operator]
    budget = make_plan(layers, (20, 11, 9), 4, torch.float32, GB).peak
    for share in (0.9, 0.5, 0.1):
        plan = make_plan(layers, (20, 11, 9), 4, torch.float32, int(share * budget))
        assert plan.cut.number > 1
        assert (run_seamless(layers, latent, plan.cut, plan.kept) - whole).abs().max() < 1e-5


@pytest.mark.parametrize("share", [1.0, 0.5, 0.2])
def test_the_predicted_peak_is_what_running_takes(share: float) -> None:
    """Bytes that PyTorch allocates while running, by its own profiler."""
    autoencoder = small_autoencoder(num_channels=[16, 32, 32])
    layers = decoder_layers(autoencoder)  # type: ignore[arg-type]
    size, latent = (16, 16, 16), torch.randn(1, 4, 16, 16, 16)
    whole = make_plan(layers, size, 4, torch.float32, 100 * GB)
    plan = make_plan(layers, size, 4, torch.float32, int(whole.peak * share))
    run_seamless(layers, latent, plan.cut, plan.kept)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run_seamless(layers, latent, plan.cut, plan.kept)
    assert profile.profiler is not None
    records = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [record.nbytes() for record in sorted(records, key=lambda record: record.start_ns())]
    alive, peak = 0, 0
    for change in changes:
        alive += change
        peak = max(peak, alive)
    small = (
        48 * 2**20
    )  # PyTorch's kernel for float32 tiles as small as here unfolds them to 27 copies; oneDNN's does not
    assert changes
    assert 0.6 * plan.peak < peak < 1.15 * plan.peak + small
