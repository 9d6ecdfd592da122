"""Multistep solvers on a flow whose solution is known: Gaussian data."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from SynthCTLib.job import SOLVER_NAMES
from SynthCTLib.multistep import integrated_lagrange
from SynthCTLib.resources import resource_path
from SynthCTLib.scheduler import SOLVERS, find_solver

MEAN, DEVIATION = 2.0, 0.3
UNIFORM: Mapping[str, Any] = {
    "num_train_timesteps": 1000,
    "use_discrete_timesteps": False,
    "use_timestep_transform": False,
}
MOVED = {**UNIFORM, "use_timestep_transform": True}


def velocity(x: torch.Tensor, time: float) -> torch.Tensor:
    """E[x0 − ε | x_t = x] for x0 ~ N(MEAN, DEVIATION²)."""
    t = time / 1000
    a = 1 - t
    variance = a**2 * DEVIATION**2 + t**2
    off = (x - a * MEAN) / variance
    return MEAN + a * DEVIATION**2 * off - t * off


def error(solver: str, steps: int, settings: Mapping[str, Any] = UNIFORM) -> float:
    """Largest distance from x0 = MEAN + DEVIATION · x1, the exact end of the flow."""
    noise = torch.linspace(-2, 2, 1000, dtype=torch.float64).view(1, 1, 10, 10, 10)
    x = noise
    for latent in find_solver(solver)(velocity, noise, steps, settings, torch.Generator()):
        x = latent
    return float((x - (MEAN + DEVIATION * noise)).abs().max())


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("ab2", 2), ("dpm2m", 1.75), ("ab3", 2)])
def test_the_error_falls_with_the_order_of_the_solver(solver: str, order: float) -> None:
    """Of ab3 the start by Euler's method leaves order 2; dpm2m ends with a step of first order."""
    measured = math.log2(error(solver, 160) / error(solver, 320))
    assert measured > order - 0.25


@pytest.mark.parametrize("settings", [UNIFORM, MOVED])
@pytest.mark.parametrize("solver", ["ab2", "ab3", "dpm2m"])
def test_ten_steps_come_closer_than_thirty_of_euler(solver: str, settings: Mapping[str, Any]) -> None:
    assert error(solver, 10, settings) < error("euler", 30, settings)


@pytest.mark.parametrize("solver", ["ab2", "ab3", "dpm2m"])
def test_a_straight_flow_is_followed_exactly_in_any_number_of_steps(solver: str) -> None:
    x, end = torch.randn(1, 2, 3, 3, 3), torch.zeros(1, 2, 3, 3, 3)
    target = torch.randn(1, 2, 3, 3, 3)
    for steps in (1, 2, 5):
        for latent in find_solver(solver)(lambda _, t: target - x, x, steps, MOVED, torch.Generator()):
            end = latent
        assert torch.allclose(end, target, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_each_step_costs_one_evaluation(steps: int) -> None:
    for solver in ("ab2", "ab3", "dpm2m"):
        times = list[float]()

        def evaluate(x: torch.Tensor, t: float, times: list[float] = times) -> torch.Tensor:
            times.append(t)
            return x

        assert (
            len(list(find_solver(solver)(evaluate, torch.zeros(1, 1, 2, 2, 2), steps, MOVED, torch.Generator())))
            == steps
        )
        assert len(times) == steps and times == sorted(times, reverse=True) and times[0] == pytest.approx(1000)


def test_every_list_of_solvers_names_the_same() -> None:
    schema = json.loads(resource_path("schemas", "job.schema.json").read_text(encoding="utf-8"))
    card = json.loads(resource_path("models", "card.schema.json").read_text(encoding="utf-8"))
    names = set(SOLVERS)
    assert set(SOLVER_NAMES) == names
    assert set(schema["properties"]["solver"]["enum"]) == names | {None}
    assert set(card["properties"]["defaults"]["properties"]["solver"]["enum"]) == names


def test_integration_weights_are_exact_for_polynomials() -> None:
    nodes, start, stop = [0.9, 0.7, 0.55], 0.55, 0.4
    weights = integrated_lagrange(nodes, start, stop)
    for power in range(3):
        exact = (start ** (power + 1) - stop ** (power + 1)) / (power + 1)
        assert sum(w * t**power for w, t in zip(weights, nodes, strict=True)) == pytest.approx(exact)
