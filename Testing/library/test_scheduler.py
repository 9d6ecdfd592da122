"""Time steps and solvers: the reference's rounding, the corrected steps, and where the solvers arrive."""

from __future__ import annotations

import math

import pytest
import torch
from monai.networks.schedulers import DDPMScheduler, RFlowScheduler

from SynthCTLib.errors import InputError
from SynthCTLib.scheduler import SOLVERS, check_solver, find_solver, rflow_timesteps

RFLOW = {
    "num_train_timesteps": 1000,
    "use_discrete_timesteps": False,
    "use_timestep_transform": True,
    "sample_method": "uniform",
    "scale": 1.4,
}
DDPM = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0015,
    "beta_end": 0.0195,
    "schedule": "scaled_linear_beta",
    "clip_sample": False,
}


@pytest.mark.parametrize("steps", [1, 5, 30, 100])
@pytest.mark.parametrize("voxels", [32 * 32 * 24, 64 * 64 * 32, 128 * 128 * 96])
def test_exact_steps_are_those_that_monai_takes(steps: int, voxels: int) -> None:
    monai = RFlowScheduler(**RFLOW)
    monai.set_timesteps(steps, input_img_size_numel=torch.tensor(voxels))
    following = torch.cat((monai.timesteps[1:], torch.zeros(1, dtype=monai.timesteps.dtype)))
    start, velocity = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    sizes = [monai.step(velocity, t, start, s)[0].item() for t, s in zip(monai.timesteps, following, strict=True)]

    times, ours = rflow_timesteps(steps, voxels, RFLOW, exact=True)

    assert times == monai.timesteps.tolist()
    assert ours == pytest.approx(sizes, abs=1e-12)


def test_exact_steps_overshoot_and_corrected_ones_do_not() -> None:
    _, exact = rflow_timesteps(30, 32 * 32 * 24, RFLOW, exact=True)
    _, corrected = rflow_timesteps(30, 32 * 32 * 24, RFLOW, exact=False)
    assert sum(exact) == pytest.approx(1.008, abs=1e-6)
    assert math.fsum(corrected) == pytest.approx(1.0, abs=1e-15)


def test_corrected_times_follow_the_published_transform() -> None:
    times, _ = rflow_timesteps(10, 64 * 64 * 64, RFLOW, exact=False)
    uniform = [1 - step / 10 for step in range(10)]
    assert times == pytest.approx([1000 * 2 * t / (1 + t) for t in uniform])  # r = 2


def test_without_the_transform_corrected_times_are_uniform() -> None:
    times, sizes = rflow_timesteps(4, 64**3, RFLOW | {"use_timestep_transform": False}, exact=False)
    assert times == [1000.0, 750.0, 500.0, 250.0]
    assert sizes == [0.25] * 4


def test_euler_reaches_the_image_along_a_straight_flow_and_exact_euler_overshoots() -> None:
    noise, image = torch.randn(1, 4, 8, 8, 8), torch.randn(1, 4, 8, 8, 8)
    generator = torch.Generator()
    ends = {}
    for name in ("euler", "euler-exact"):
        *_, ends[name] = SOLVERS[name](lambda x, t: image - noise, noise, 30, RFLOW, generator)
    assert torch.allclose(ends["euler"], image, atol=1e-5)
    assert (ends["euler-exact"] - image).abs().max() > 1e-2


def test_ddpm_reaches_the_image_when_the_noise_is_predicted_perfectly() -> None:
    image = torch.randn(1, 4, 2, 2, 2)
    alphas = DDPMScheduler(**DDPM).alphas_cumprod

    def oracle(x: torch.Tensor, t: float) -> torch.Tensor:
        alpha = alphas[int(t)]
        return (x - alpha.sqrt() * image) / (1 - alpha).sqrt()

    *_, end = SOLVERS["ddpm"](oracle, torch.randn(1, 4, 2, 2, 2), 1000, DDPM, torch.Generator().manual_seed(1))
    assert torch.allclose(end, image, atol=1e-4)


@pytest.mark.parametrize("steps", [0, -1, 1001])
@pytest.mark.parametrize(("solver", "settings"), [("euler", RFLOW), ("ddpm", DDPM)])
def test_an_impossible_number_of_steps_is_refused(solver: str, settings: dict, steps: int) -> None:
    with pytest.raises(InputError, match="from 1 to 1000"):
        check_solver(solver, steps, settings)
    with pytest.raises(InputError, match="from 1 to 1000"):
        next(SOLVERS[solver](lambda x, t: x, torch.zeros(1, 1, 1, 1, 1), steps, settings, torch.Generator()))


def test_an_unknown_solver_is_answered_with_the_names_there_are() -> None:
    with pytest.raises(InputError, match="euler-exact, euler, ab2, ab3, dpm2m, ddpm"):
        find_solver("heun")


@pytest.mark.parametrize(("solver", "settings"), [("euler", DDPM), ("euler-exact", DDPM), ("ddpm", RFLOW)])
def test_a_solver_of_the_other_family_is_refused(solver: str, settings: dict) -> None:
    with pytest.raises(InputError, match="does not belong to this model"):
        check_solver(solver, 30, settings)


def test_a_shortened_ddpm_chain_is_warned_of_and_a_whole_one_is_not() -> None:
    (finding,) = check_solver("ddpm", 30, DDPM)
    assert finding.severity == "warning"
    assert "1000" in finding.sentence()
    assert check_solver("ddpm", 1000, DDPM) == []
    assert check_solver("euler", 5, RFLOW) == []
