"""Plans for the seamless decoder: what fits, what it costs, and that a plan runs as planned."""

from __future__ import annotations

import pytest
import torch

from SynthCTLib.autoencoder_layers import decoder_layers
from SynthCTLib.memory_plan import features_along, make_plan
from SynthCTLib.networks import build_on_meta
from SynthCTLib.seamless import run_seamless
from Testing.library.small_networks import AUTOENCODER, small_autoencoder

RELEASED = AUTOENCODER | {"num_channels": [64, 128, 256], "num_res_blocks": [2, 2, 2], "norm_num_groups": 32}
LAYERS = decoder_layers(build_on_meta("autoencoder", RELEASED).to(torch.float16))  # type: ignore[arg-type]
GB = 10**9


def test_what_fits_is_decoded_in_one_piece() -> None:
    plan = make_plan(LAYERS, (64, 64, 32), 4, torch.float16, 16 * GB)
    assert plan.cut.counts == (1, 1, 1)
    assert plan.peak <= 16 * GB


@pytest.mark.parametrize("depth", [128, 192])
def test_the_largest_volumes_of_the_released_model_fit_a_gpu_of_16_gb(depth: int) -> None:
    plan = make_plan(LAYERS, (128, 128, depth), 4, torch.float16, 15 * GB)
    assert plan.peak <= 15 * GB
    assert plan.cut.number > 1


def test_more_memory_never_means_more_work() -> None:
    plans = [make_plan(LAYERS, (128, 128, 128), 4, torch.float16, gb * GB) for gb in (4, 8, 16, 24, 48, 96, 192)]
    assert all(plan.peak <= gb * GB for plan, gb in zip(plans, (4, 8, 16, 24, 48, 96, 192), strict=True))
    assert [plan.work for plan in plans] == sorted((plan.work for plan in plans), reverse=True)
    assert plans[-1].cut.number == 1


def test_storing_features_costs_hardly_more_than_one_piece() -> None:
    one = make_plan(LAYERS, (64, 64, 64), 4, torch.float16, 100 * GB)
    tiled = make_plan(LAYERS, (64, 64, 64), 4, torch.float16, int(one.peak * 0.75))
    assert tiled.cut.number > 1
    assert tiled.work < 1.1 * one.work


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
    for share in (0.8, 0.4, 0.1):
        plan = make_plan(layers, (20, 11, 9), 4, torch.float32, int(share * budget))
        assert plan.cut.number > 1
        assert (run_seamless(layers, latent, plan.cut, plan.kept) - whole).abs().max() < 1e-5
