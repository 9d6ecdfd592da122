"""From noise to latent: time steps and the solvers that walk along them.

Rectified flow (MAISI-v2, arXiv 2508.05772; MONAI's ``RFlowScheduler``). With t from 0 (image) to 1 (noise),

    x_t = (1 − t)·x0 + t·ε,    target of the network v = x0 − ε = −dx/dt,    the network is given 1000·t,
    an Euler step from t to s < t:  x_s = x_t + (t − s)·v(x_t, 1000·t).

Large volumes need more of the steps at high noise, so that uniform times t are moved, in training and here alike, to

    t' = r·t / (1 + (r − 1)·t),    r = (latent voxels / base_img_size_numel)^(1/3),    base_img_size_numel = 32³.

The ``scale = 1.4`` of the released models is the width of a logit-normal that ``sample_method = "uniform"`` never uses,
and MONAI 1.6.1 never applies ``transform_scale``; neither enters r.

``euler-exact`` repeats the rounding of the reference: MONAI stores the times as float16 and truncates the *next* one to
an integer when it takes a step, so that the sizes add up to about 1.01 and not 1. ``euler`` does without both.

``ab2``, ``ab3`` and ``dpm2m`` (:mod:`multistep`) take larger steps for the same error.

DDPM (arXiv 2006.11239): MONAI's ``DDPMScheduler``; ancestral sampling over all steps that the model was trained with.
``ddim`` (arXiv 2010.02502, equation 12 with σ = 0) walks the same chain in few steps, each from its time to the next
of the list; MONAI's ``DDIMScheduler`` goes by T // steps instead, which misses the times that it then asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from monai.networks.schedulers import DDPMScheduler, RFlowScheduler
from monai.networks.schedulers.rectified_flow import timestep_transform

from SynthCTLib.errors import InputError
from SynthCTLib.findings import Finding
from SynthCTLib.multistep import adams_bashforth, dpm_solver_2m

Evaluate = Callable[[torch.Tensor, float], torch.Tensor]
"""The guided network: (noisy latent float32, time step 0-1000) → its prediction, float32, same shape and device."""

Solver = Callable[[Evaluate, torch.Tensor, int, Mapping[str, Any], torch.Generator], Iterator[torch.Tensor]]
"""(evaluate, noise, steps, the card's scheduler settings, CPU generator) → the latent after each step."""

DDPM_SOLVERS = ("ddpm", "ddim")
"""Solvers of models that predict noise; the others are for rectified flow."""

_Scheduler = TypeVar("_Scheduler", RFlowScheduler, DDPMScheduler)


def rflow_timesteps(
    steps: int, latent_voxels: int, scheduler: Mapping[str, Any], exact: bool
) -> tuple[list[float], list[float]]:
    """Time steps in 0-1000, falling from 1000, and the size of the Euler step that starts at each, as a share of 1.

    Args:
        steps: number of evaluations of the network, 1 to ``num_train_timesteps``.
        latent_voxels: number of voxels of the latent (not of the image).
        scheduler: settings of the card, as for MONAI's RFlowScheduler.
        exact: True repeats the reference's rounding; False gives sizes that add up to 1.

    Raises InputError for an impossible number of steps and for settings of another family.
    """
    flow = _build(RFlowScheduler, scheduler)
    _check_steps(steps, flow.num_train_timesteps)
    total = float(flow.num_train_timesteps)
    if exact:
        # The reference gives the number of voxels as a tensor, which makes the transform run in float32.
        flow.set_timesteps(steps, input_img_size_numel=torch.tensor(latent_voxels))  # type: ignore[arg-type]
        times = [float(t) for t in flow.timesteps]
        following = [float(int(t)) for t in times[1:]] + [0.0]
    else:
        times = [total * (1 - step / steps) for step in range(steps)]
        if flow.use_timestep_transform:
            times = [float(timestep_transform(t, latent_voxels, flow.base_img_size_numel)) for t in times]
        following = [*times[1:], 0.0]
    return times, [(t - s) / total for t, s in zip(times, following, strict=True)]


def euler_exact(
    evaluate: Evaluate, x: torch.Tensor, steps: int, scheduler: Mapping[str, Any], generator: torch.Generator
) -> Iterator[torch.Tensor]:
    """Euler's method with the reference's rounding of times."""
    return _euler(evaluate, x, *rflow_timesteps(steps, x[0, 0].numel(), scheduler, exact=True))


def euler(
    evaluate: Evaluate, x: torch.Tensor, steps: int, scheduler: Mapping[str, Any], generator: torch.Generator
) -> Iterator[torch.Tensor]:
    """Euler's method with steps that add up to 1."""
    return _euler(evaluate, x, *rflow_timesteps(steps, x[0, 0].numel(), scheduler, exact=False))


def _multistep(step: Callable[..., Iterator[torch.Tensor]], **more: int) -> Solver:
    """A solver of :mod:`multistep` on times without rounding."""

    def solve(
        evaluate: Evaluate, x: torch.Tensor, steps: int, scheduler: Mapping[str, Any], generator: torch.Generator
    ) -> Iterator[torch.Tensor]:
        return step(evaluate, x, *rflow_timesteps(steps, x[0, 0].numel(), scheduler, exact=False), **more)

    return solve


def ddpm(
    evaluate: Evaluate, x: torch.Tensor, steps: int, scheduler: Mapping[str, Any], generator: torch.Generator
) -> Iterator[torch.Tensor]:
    """Ancestral DDPM sampling; the step itself runs on the CPU, so that its noise is the same on all devices."""
    chain = _build(DDPMScheduler, scheduler)
    _check_steps(steps, chain.num_train_timesteps)
    chain.set_timesteps(steps)
    device, x = x.device, x.cpu()
    for t in chain.timesteps.tolist():
        prediction = evaluate(x.to(device), float(t))
        x, _ = chain.step(prediction.cpu(), t, x, generator)
        yield x.to(device)


def ddim(
    evaluate: Evaluate, x: torch.Tensor, steps: int, scheduler: Mapping[str, Any], generator: torch.Generator
) -> Iterator[torch.Tensor]:
    """DDIM without noise: x_s = √ᾱ_s·x̂0 + √(1 − ᾱ_s)·ε, from t to the next time s; ᾱ = 1 after the last one."""
    chain = _build(DDPMScheduler, scheduler)
    _check_steps(steps, chain.num_train_timesteps)
    chain.set_timesteps(steps)
    times = chain.timesteps.tolist()
    alphas = [float(chain.alphas_cumprod[t]) for t in times] + [1.0]
    for t, now, after in zip(times, alphas, alphas[1:], strict=False):
        noise = evaluate(x, float(t))
        clean = (x - (1 - now) ** 0.5 * noise) / now**0.5
        if chain.clip_sample:
            clean = clean.clamp(*chain.clip_sample_values)
            noise = (x - now**0.5 * clean) / (1 - now) ** 0.5
        x = after**0.5 * clean + (1 - after) ** 0.5 * noise
        yield x


SOLVERS: dict[str, Solver] = {
    "euler-exact": euler_exact,
    "euler": euler,
    "ab2": _multistep(adams_bashforth, order=2),
    "ab3": _multistep(adams_bashforth, order=3),
    "dpm2m": _multistep(dpm_solver_2m),
    "ddpm": ddpm,
    "ddim": ddim,
}


def find_solver(name: str) -> Solver:
    """The solver of that name; InputError lists the names there are."""
    if name not in SOLVERS:
        raise InputError(f"There is no solver called '{name}'; choose one of {', '.join(SOLVERS)}.")
    return SOLVERS[name]


def check_solver(name: str, steps: int, scheduler: Mapping[str, Any]) -> list[Finding]:
    """Check the choice of solver and steps before anything runs.

    Raises InputError as the solver itself would; the finding warns of a DDPM chain that is cut short, which MONAI (and
    the reference) compute without complaint but which leaves noise in the image.
    """
    find_solver(name)
    if name not in DDPM_SOLVERS:
        rflow_timesteps(steps, 1, scheduler, exact=True)
        return []
    trained = _build(DDPMScheduler, scheduler).num_train_timesteps
    _check_steps(steps, trained)
    if name == "ddim" or steps == trained:
        return []
    message = f"The ddpm solver needs all {trained} steps of its model; {steps} leave noise in the image."
    return [Finding("warning", "ddpm-steps", message, f"Use --steps {trained}, or --solver ddim.")]


def _euler(evaluate: Evaluate, x: torch.Tensor, times: list[float], sizes: list[float]) -> Iterator[torch.Tensor]:
    for t, size in zip(times, sizes, strict=True):
        x = x + evaluate(x, t) * size
        yield x


def _build(kind: type[_Scheduler], settings: Mapping[str, Any]) -> _Scheduler:
    try:
        return kind(**settings)
    except TypeError as error:
        raise InputError(
            "The solver does not belong to this model; use ddpm or ddim for models that predict noise and the others "
            "for rflow models."
        ) from error


def _check_steps(steps: int, largest: int) -> None:
    if not 1 <= steps <= largest:
        raise InputError(f"{steps} steps cannot be made with this model; choose a number from 1 to {largest}.")
