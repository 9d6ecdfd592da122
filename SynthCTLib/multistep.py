"""Higher-order multistep solvers for rectified flow: one evaluation a step, earlier evaluations used again.

x_t = (1 − t)·x0 + t·ε and v = x0 − ε, so that dx/dt = −v; t falls from 1 (noise) to 0 (image). Both solvers take the
first step as Euler's method does, since nothing came before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch

Evaluate = Callable[[torch.Tensor, float], torch.Tensor]


def adams_bashforth(
    evaluate: Evaluate, x: torch.Tensor, times: list[float], sizes: list[float], order: int
) -> Iterator[torch.Tensor]:
    """Adams-Bashforth method of order 2 or 3 for steps of uneven size (Hairer, Nørsett & Wanner I, section III.5).

    The polynomial through the last ``order`` velocities is integrated over the step.

    Args:
        evaluate: (x, time 0-1000) → velocity, of the shape of x.
        x: (1, channels, x, y, z) noise.
        times: times 0-1000 at which steps begin; sizes: their lengths as shares of 1.
    """
    past: list[tuple[float, torch.Tensor]] = []
    for time, size in zip(times, sizes, strict=True):
        start = time / 1000.0
        past = [*past, (start, evaluate(x, time))][-order:]
        weights = integrated_lagrange([t for t, _ in past], start, start - size)
        x = x + sum(weight * v for weight, (_, v) in zip(weights, past, strict=True))
        yield x


def integrated_lagrange(nodes: list[float], start: float, stop: float) -> list[float]:
    """∫ of each Lagrange polynomial of ``nodes`` (1 to 3) from ``stop`` to ``start``: weights of the values there."""
    weights = []
    for i, node in enumerate(nodes):
        others = [other for j, other in enumerate(nodes) if j != i]
        scale = 1.0
        for other in others:
            scale /= node - other
        # Coefficients of Π (t − other), lowest power first.
        polynomial = [1.0]
        for other in others:
            shifted = [0.0, *polynomial]
            polynomial = [s - other * p for s, p in zip(shifted, [*polynomial, 0.0], strict=True)]
        integral = sum(c * (start ** (k + 1) - stop ** (k + 1)) / (k + 1) for k, c in enumerate(polynomial))
        weights.append(scale * integral)
    return weights


def dpm_solver_2m(
    evaluate: Evaluate, x: torch.Tensor, times: list[float], sizes: list[float]
) -> Iterator[torch.Tensor]:
    """DPM-Solver++(2M) (Lu et al., arXiv 2211.01095, algorithm 2) with α = 1 − t, σ = t, λ = log(α/σ).

    It extrapolates the predicted image x0 = x + t·v and is exact in the part of the equation that is linear in x. The
    first two steps, and the last, which touch t = 1 and t = 0, where λ is infinite, are of first order. Arguments as
    for :func:`adams_bashforth`.
    """
    previous: tuple[float, torch.Tensor] | None = None
    for time, size in zip(times, sizes, strict=True):
        t = time / 1000.0
        s = max(0.0, t - size)
        image = x + t * evaluate(x, time)
        target = image
        if previous is not None and previous[0] < 1 and s > 1e-6:
            step, before = log_ratio(s) - log_ratio(t), log_ratio(t) - log_ratio(previous[0])
            target = image + (step / before / 2) * (image - previous[1])
        previous = (t, image)
        # e^(−h) = (σ_s/α_s)/(σ_t/α_t), written so that α_t = 0 is no division by zero.
        x = (s / t) * x + ((1 - s) - s * (1 - t) / t) * target
        yield x


def log_ratio(t: float) -> float:
    """λ = log(α/σ) for 0 < t < 1."""
    return math.log((1 - t) / t)
