"""Sampling a latent: noise + embedded mask → latent, by ControlNet and U-Net along a solver's steps.

Guidance toward tumors, as in the public reference (NV-Generate-CTMR, ``run_controlnet_conditioned_image_dm``): a
second, unconditional branch sees the mask without tumors and class label 0, and the prediction is

    v = v_uncond + g·(v_cond − v_uncond),    g > 0;    g = 0 leaves the second branch out and v = v_cond.

So g = 1 gives the same as g = 0 at twice the cost, and tumors are emphasized from g > 1 on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch

from SynthCTLib.conditions import Conditions
from SynthCTLib.denoiser import control_residuals, predict
from SynthCTLib.device import device_and_dtype, memory_advice
from SynthCTLib.errors import InputError
from SynthCTLib.networks import Networks
from SynthCTLib.progress import Progress
from SynthCTLib.scheduler import Evaluate, find_solver

STAGE = "denoise"

TOGETHER = 64**3
"""Voxels of a latent up to which both branches of guidance are one batch.

Small grids leave a GPU idle and read the weights twice otherwise; for large ones two runs need half of the memory.
"""


@dataclass(frozen=True)
class _Branch:
    """One side of guidance: the mask's embedding and the conditions that go with it."""

    embedding: torch.Tensor
    conditions: Conditions


def sample_latent(
    networks: Networks,
    embedding: torch.Tensor,
    conditions: Conditions,
    *,
    scheduler: Mapping[str, Any],
    seed: int,
    steps: int,
    solver: str,
    guidance: float = 0.0,
    temperature: float = 1.0,
    unconditional_embedding: torch.Tensor | None = None,
    noise: torch.Tensor | None = None,
    progress: Progress | None = None,
) -> torch.Tensor:
    """Sample one latent.

    Args:
        networks: in evaluation mode; their device and number format are used, while the latent stays float32.
        embedding: (1, width, x, y, z) from ``embed_labels``, on the latent's grid.
        conditions: spacing, modality and region of this image.
        scheduler: the card's scheduler settings.
        seed: drives all randomness, through a generator on the CPU; the same seed gives the same bits on the same
            machine, device and number of threads.
        steps, solver: see :mod:`SynthCTLib.scheduler`.
        guidance: 0 for none; otherwise needs ``unconditional_embedding``, that of the mask without tumors.
        temperature: standard deviation of the starting noise. Below 1 the flow starts, and so ends, nearer to what is
            most likely: smoother images, less variety. 1 is what the model was trained with.
        noise: (1, channels, x, y, z) starting point in place of the one drawn from the seed.
        progress: told after each step (stage "denoise"); cancels between steps. On a GPU the work may lag behind the
            events by as much as the launch queue holds, since nothing waits for it.

    Returns:
        (1, channels, x, y, z) float32 latent on the device of the networks, still multiplied by the scale factor.

    Raises InputError for settings or sizes that do not fit, ResourceError if memory runs out, Cancelled.
    """
    progress = progress or Progress()
    solve = find_solver(solver)
    shape = latent_shape(networks, embedding.shape)
    generator = _generator(seed)
    x = torch.randn(shape, generator=generator) if noise is None else noise
    if tuple(x.shape) != shape:
        raise InputError(f"The noise has the shape {tuple(x.shape)}; this mask and model need {shape}.")
    if not 0 <= temperature <= 2:
        raise InputError(f"The temperature {temperature} cannot be used; give a number from 0 to 2.")
    device, _ = device_and_dtype(networks.unet)
    grid = "×".join(str(_down(networks) * size) for size in shape[2:])
    advice = f"Memory does not suffice for a grid of {grid} on '{device}'; use a smaller --size or --device cpu."
    with torch.inference_mode(), memory_advice(advice):
        progress.step(STAGE, 0, steps)
        evaluate = _guided(networks, embedding, conditions, guidance, unconditional_embedding)
        for step, latent in enumerate(
            solve(evaluate, temperature * x.to(device, torch.float32), steps, scheduler, generator), 1
        ):
            x = latent
            progress.step(STAGE, step, steps)
    return x


def latent_shape(networks: Networks, embedding_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the latent for an embedding of shape (1, width, x, y, z).

    The U-Net halves the latent once per level below the first; InputError if a side does not divide.
    """
    multiple = 2 ** (len(networks.unet.down_blocks) - 1)
    sides, down = embedding_shape[2:], _down(networks)
    if any(side % multiple or side == 0 for side in sides):
        nearest = "×".join(str(max(1, round(side / multiple)) * multiple * down) for side in sides)
        raise InputError(
            f"The grid {'×'.join(str(down * side) for side in sides)} does not fit the model, whose sides are "
            f"multiples of {down * multiple}; use --size {nearest}."
        )
    return (1, networks.unet.in_channels, *sides)


def _down(networks: Networks) -> int:
    """How many voxels of the mask one of the latent covers: ControlNet halves it once per pair of embedding blocks."""
    return int(2 ** (len(networks.controlnet.controlnet_cond_embedding.blocks) // 2))


def _guided(
    networks: Networks,
    embedding: torch.Tensor,
    conditions: Conditions,
    guidance: float,
    unconditional_embedding: torch.Tensor | None,
) -> Evaluate:
    """The network as a function of latent and time, guidance included."""
    if not (guidance >= 0 and math.isfinite(guidance)):
        raise InputError(f"The guidance {guidance} cannot be used; give 0 (none) or a positive number.")
    conditional = _branch(networks, embedding, conditions)
    if guidance == 0:
        return lambda x, t: _predict(networks, conditional, x, t)
    if unconditional_embedding is None or unconditional_embedding.shape != embedding.shape:
        raise InputError("Guidance needs the mask without tumors on the same grid; give it, or set the guidance to 0.")
    unconditional = _branch(networks, unconditional_embedding, conditions.unconditional())
    together = embedding[0, 0].numel() <= TOGETHER
    branches = [_both(conditional, unconditional)] if together else [conditional, unconditional]

    def evaluate(x: torch.Tensor, t: float) -> torch.Tensor:
        towards, without = torch.cat([_predict(networks, branch, x, t) for branch in branches]).chunk(2)
        return without + guidance * (towards - without)

    return evaluate


def _branch(networks: Networks, embedding: torch.Tensor, conditions: Conditions) -> _Branch:
    device, dtype = device_and_dtype(networks.controlnet)
    return _Branch(embedding.to(device, dtype), conditions.to(device, dtype))


def _both(first: _Branch, second: _Branch) -> _Branch:
    """Two branches as one batch."""
    pairs = [(getattr(first.conditions, f.name), getattr(second.conditions, f.name)) for f in fields(Conditions)]
    joined = Conditions(*(None if None in pair else torch.cat(pair) for pair in pairs))
    return _Branch(torch.cat([first.embedding, second.embedding]), joined)


def _predict(networks: Networks, branch: _Branch, x: torch.Tensor, t: float) -> torch.Tensor:
    """Prediction for each mask of the branch, all from the same latent."""
    device, dtype = device_and_dtype(networks.unet)
    given, number = branch.conditions, len(branch.embedding)
    latent, times = x.to(dtype).expand(number, -1, -1, -1, -1), torch.full((number,), t, device=device)
    residuals = control_residuals(networks.controlnet, latent, times, branch.embedding, given.class_label)
    prediction = predict(
        networks.unet,
        latent,
        times,
        residuals,
        spacing=given.spacing,
        class_labels=given.class_label,
        top_region=given.top_region,
        bottom_region=given.bottom_region,
    )
    return prediction.to(torch.float32)


def _generator(seed: int) -> torch.Generator:
    if not 0 <= seed < 2**63:
        raise InputError(f"The seed {seed} cannot be used; give a whole number from 0 to 9223372036854775807.")
    return torch.Generator("cpu").manual_seed(seed)
