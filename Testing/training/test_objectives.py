"""Rectified flow and DDPM: what is learned is what the engine's samplers need."""

from __future__ import annotations

import math

import pytest
import torch
from monai.networks.schedulers import RFlowScheduler

from SynthCTLib.cards import load_card
from SynthCTLib.denoiser import predict
from SynthCTLib.errors import InputError
from SynthCTLib.networks import build_unet
from SynthCTLib.scheduler import ddpm as ddpm_solver
from SynthCTLib.scheduler import euler
from Testing.training.small_runs import TRUNK
from training.copy_start import copy_start
from training.ddpm import Ddpm
from training.denoiser_loss import voxel_weights, weighted_loss
from training.objectives import build_objective
from training.rectified_flow import RectifiedFlow
from training.schedule import warmup_cosine, warmup_polynomial
from training.times import TimeSettings

RFLOW = load_card("nv-generate-ct-rflow").scheduler
DDPM = load_card("nv-generate-ct-ddpm").scheduler


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pair(count: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = seeded()
    return tuple(torch.randn(count, 4, 4, 4, 4, generator=generator) for _ in range(2))  # type: ignore[return-value]


@pytest.mark.parametrize("family", ["rflow", "ddpm"])
def test_a_perfect_prediction_leads_the_engines_sampler_back_to_the_latent(family: str) -> None:
    latent, noise = pair()
    objective = RectifiedFlow(RFLOW, TimeSettings()) if family == "rflow" else Ddpm(DDPM, TimeSettings())
    assert (
        weighted_loss(objective.target(latent, noise), objective.target(latent, noise), torch.ones(1, 1, 4, 4, 4)) == 0
    )

    def perfect(x: torch.Tensor, t: float) -> torch.Tensor:
        """What a network that knows the latent would say: the noise in x, or the velocity from it."""
        if family == "rflow":
            return objective.target(latent, (x - (1 - t / 1000) * latent) / (t / 1000))
        share = math.prod(1 - b for b in torch.linspace(0.0015**0.5, 0.0195**0.5, 1000).square()[: int(t) + 1].tolist())
        return objective.target(latent, (x - share**0.5 * latent) / (1 - share) ** 0.5)

    solve, steps, scheduler = (euler, 10, RFLOW) if family == "rflow" else (ddpm_solver, 1000, DDPM)
    x = noise
    for state in solve(perfect, noise, steps, scheduler, seeded(1)):
        x = state
    assert torch.allclose(x, latent, atol=0.1 if family == "ddpm" else 1e-3)
    assert torch.allclose(objective.sample(perfect, noise, 10, seeded(1)), latent, atol=1e-2)


def test_the_noisy_latent_of_ddpm_has_maisis_beta_schedule() -> None:
    latent, noise = pair(3)
    alphas = 1 - torch.linspace(0.0015**0.5, 0.0195**0.5, 1000, dtype=torch.float64) ** 2  # scaled linear
    x = Ddpm(DDPM, TimeSettings()).noisy(latent, noise, torch.tensor([0.0, 499.0, 999.0]))
    for row, step in enumerate((0, 499, 999)):
        share = alphas[: step + 1].prod().item()
        assert torch.allclose(x[row], share**0.5 * latent[row] + (1 - share) ** 0.5 * noise[row], atol=1e-4)


def test_the_noisy_latent_of_the_flow_lies_on_the_line_between_latent_and_noise() -> None:
    latent, noise = pair(3)
    x = RectifiedFlow(RFLOW, TimeSettings()).noisy(latent, noise, torch.tensor([0.0, 250.0, 1000.0]))
    assert torch.equal(x[0], latent[0]) and torch.equal(x[2], noise[2])
    assert torch.allclose(x[1], 0.75 * latent[1] + 0.25 * noise[1])


@pytest.mark.parametrize(
    "times", [{"method": "uniform", "transform": True}, {"method": "logit-normal", "loc": 0.3, "scale": 1.4}]
)
def test_times_are_those_of_monais_scheduler(times: dict) -> None:
    method, transform = times["method"], times.get("transform", False)
    settings = {**RFLOW, "sample_method": method, "use_timestep_transform": transform}
    settings |= {name: times[name] for name in ("loc", "scale") if name in times}
    volume = torch.zeros(5, 1, 64, 64, 32)
    torch.manual_seed(3)
    expected = RFlowScheduler(**settings).sample_timesteps(volume)
    drawn = RectifiedFlow(RFLOW, TimeSettings(**times)).draw_times(5, volume[0, 0].numel(), seeded(3))
    assert torch.allclose(drawn, expected, atol=1e-2)


def test_stratified_times_cover_the_range_and_those_of_ddpm_are_steps_of_the_chain() -> None:
    times = RectifiedFlow(RFLOW, TimeSettings()).draw_times(10, 8, seeded())
    assert torch.equal((times / 100).floor(), torch.arange(10.0))
    steps = Ddpm(DDPM, TimeSettings(method="uniform")).draw_times(500, 8, seeded())
    assert torch.equal(steps, steps.round()) and 0 <= steps.min() < 20 and 980 < steps.max() <= 999
    with pytest.raises(InputError, match="'stratified' or 'uniform'"):
        Ddpm(DDPM, TimeSettings(method="logit-normal"))


def test_the_family_of_the_card_chooses_the_objective_and_a_wrong_one_is_named() -> None:
    def config(family: str, scheduler: dict) -> dict:
        return {"export": {"card": {"family": family, "scheduler": scheduler}}}

    assert isinstance(build_objective(config("ddpm", DDPM), TimeSettings()), Ddpm)
    assert isinstance(build_objective(config("rflow", RFLOW), TimeSettings()), RectifiedFlow)
    with pytest.raises(InputError, match="'flow'; choose one of rflow, ddpm"):
        build_objective(config("flow", RFLOW), TimeSettings())
    with pytest.raises(InputError, match="does not fit the family 'rflow'"):
        build_objective(config("rflow", DDPM), TimeSettings())


def test_air_counts_less_than_the_body_and_named_labels_more() -> None:
    mask = torch.zeros(1, 16, 16, 16, dtype=torch.uint8)
    mask[:, :8] = 200
    mask[:, :4, :2] = 33  # half of four of the blocks
    mask[:, 4:8, :4, :4] = 26  # one block
    weights = voxel_weights(mask, 0.1, {(33, 34): 3.0, (26,): 100.0})
    assert weights.unique().tolist() == pytest.approx([0.1, 1, 2, 100])
    output = torch.zeros(1, 4, 4, 4, 4)
    output[:, :, 1, 0, 0] = 1  # wrong in the tumor alone
    assert weighted_loss(output, torch.zeros_like(output), weights).item() == pytest.approx(
        100 / weights.sum().item(), rel=1e-5
    )


def test_the_l1_loss_is_the_mean_absolute_error() -> None:
    output = torch.tensor([3.0, -1.0]).view(1, 2, 1, 1, 1)
    even = torch.ones(1, 1, 1, 1, 1)
    assert weighted_loss(output, torch.zeros_like(output), even, "l1").item() == 2
    assert weighted_loss(output, torch.zeros_like(output), even).item() == 5


@pytest.mark.parametrize(("sign", "time"), [(-1.0, 990.0), (1.0, 990.0), (1.0, 10.0)])
def test_the_copy_start_passes_the_input_on_whatever_the_time(sign: float, time: float) -> None:
    torch.manual_seed(0)
    unet = build_unet(TRUNK | {"out_channels": 4, "num_channels": [16, 16]}).eval()
    x = torch.randn(1, 4, 8, 8, 8)
    with torch.no_grad():
        before = predict(unet, x, torch.tensor([time]))
        copy_start(unet, sign)
        after = predict(unet, x, torch.tensor([time]))
    assert (after - sign * x).square().mean() < 0.01 < (before - sign * x).square().mean()


def test_the_copy_start_needs_room_for_each_channel_twice() -> None:
    with pytest.raises(InputError, match="use 'random'"):
        copy_start(build_unet(TRUNK | {"in_channels": 8, "out_channels": 8}), 1.0)


def test_the_learning_rate_warms_up_and_falls() -> None:
    for decay, end in ((warmup_cosine, 0.06), (warmup_polynomial, 1e-3)):
        factors = [decay(step, 10, 100) for step in range(100)]
        assert factors[0] == pytest.approx(0.1) and max(factors) == pytest.approx(1) and factors[-1] < end
    assert warmup_polynomial(55, 10, 100) == pytest.approx(0.25)  # half of the way after the warm-up, squared
