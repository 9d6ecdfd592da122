"""Sampling: agreement with a plain loop over MONAI's networks, seeds, guidance, progress and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from monai.networks.schedulers import DDPMScheduler, RFlowScheduler

from SynthCTLib import sampler
from SynthCTLib.conditions import Conditions, build_conditions
from SynthCTLib.denoiser import embed_mask
from SynthCTLib.errors import Cancelled, InputError, ResourceError
from SynthCTLib.networks import Networks
from SynthCTLib.progress import Progress, ProgressEvent
from SynthCTLib.regions import Region
from SynthCTLib.sampler import sample_latent
from Testing.library.small_networks import small_networks

STEPS = 4
GRID = (32, 16, 16)
LATENT = (1, 4, 8, 4, 4)
SCHEDULERS: dict[str, dict[str, Any]] = {
    "rflow": {
        "num_train_timesteps": 1000,
        "use_discrete_timesteps": False,
        "use_timestep_transform": True,
        "sample_method": "uniform",
        "scale": 1.4,
    },
    "ddpm": {
        "num_train_timesteps": 1000,
        "beta_start": 0.0015,
        "beta_end": 0.0195,
        "schedule": "scaled_linear_beta",
        "clip_sample": False,
    },
}
SOLVER = {"rflow": "euler-exact", "ddpm": "ddpm"}
NETWORKS = {family: small_networks(family) for family in SCHEDULERS}
CONDITIONS = {
    "rflow": build_conditions({"class_label": 1, "guidance_class_label": 0}, (0.8, 0.8, 2.5)),
    "ddpm": build_conditions({"class_label": None, "body_region": True}, (0.8, 0.8, 2.5), Region(1, 2)),
}


def mask(seed: int = 1) -> torch.Tensor:
    return (torch.rand((1, 8, *GRID), generator=torch.Generator().manual_seed(seed)) > 0.5).float()


@torch.no_grad()
def embedded(channels: torch.Tensor, family: str = "rflow") -> torch.Tensor:
    return embed_mask(NETWORKS[family].controlnet, channels)


def sample(family: str = "rflow", channels: torch.Tensor | None = None, **changes: Any) -> torch.Tensor:
    arguments: dict[str, Any] = {
        "networks": NETWORKS[family],
        "embedding": embedded(mask() if channels is None else channels, family),
        "conditions": CONDITIONS[family],
        "scheduler": SCHEDULERS[family],
        "seed": 5,
        "steps": STEPS,
        "solver": SOLVER[family],
    }
    return sample_latent(**(arguments | changes))


@torch.no_grad()
def plain_loop(
    networks: Networks, family: str, given: Conditions, noise: torch.Tensor, guidance: float, generator: torch.Generator
) -> torch.Tensor:
    """The reference's order of calls: whole forward methods, both branches of guidance as one batch."""
    x, copies = noise, 2 if guidance else 1
    masks = torch.cat([mask(1), mask(2)])[:copies]
    labels = None if given.class_label is None else torch.tensor([1, 0])[:copies]
    if family == "rflow":
        scheduler = RFlowScheduler(**SCHEDULERS[family])
        scheduler.set_timesteps(STEPS, input_img_size_numel=torch.prod(torch.tensor(x.shape[2:])))
    else:
        scheduler = DDPMScheduler(**SCHEDULERS[family])
        scheduler.set_timesteps(STEPS)
    following = torch.cat((scheduler.timesteps[1:], torch.zeros(1, dtype=scheduler.timesteps.dtype)))
    for t, s in zip(scheduler.timesteps, following, strict=True):
        both, times = torch.cat([x] * copies), torch.tensor([float(t)] * copies)
        down, middle = networks.controlnet(x=both, timesteps=times, controlnet_cond=masks, class_labels=labels)
        prediction = networks.unet(
            x=both,
            timesteps=times,
            class_labels=labels,
            spacing_tensor=torch.cat([given.spacing] * copies),
            top_region_index_tensor=None if given.top_region is None else torch.cat([given.top_region] * copies),
            bottom_region_index_tensor=None
            if given.bottom_region is None
            else torch.cat([given.bottom_region] * copies),
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        )
        if guidance:
            conditional, unconditional = prediction.chunk(2)
            prediction = unconditional + guidance * (conditional - unconditional)
        x = scheduler.step(prediction, t, x, s if family == "rflow" else generator)[0]
    return x


@pytest.mark.parametrize("guidance", [0.0, 2.5])
@pytest.mark.parametrize("family", ["rflow", "ddpm"])
def test_the_latent_agrees_with_a_plain_loop_over_monai(family: str, guidance: float) -> None:
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(LATENT, generator=generator)
    expected = plain_loop(NETWORKS[family], family, CONDITIONS[family], noise, guidance, generator)
    ours = sample(family, guidance=guidance, unconditional_embedding=embedded(mask(2), family))
    assert ours.shape == LATENT
    assert ours.dtype == torch.float32
    assert (ours - expected).abs().max() < 1e-4
    assert (ours - noise).abs().max() > 0.1  # the networks moved the latent


def test_the_same_seed_gives_the_same_bits_and_another_seed_another_latent() -> None:
    for family in SCHEDULERS:
        assert torch.equal(sample(family), sample(family))
        assert not torch.allclose(sample(family), sample(family, seed=6), atol=0.1)


def test_half_precision_weights_give_nearly_the_same_latent() -> None:
    half = small_networks("ddpm")  # PyTorch's CPU kernels lack the pooling in half precision that small rflow ones need
    half.unet.to(torch.bfloat16)
    half.controlnet.to(torch.bfloat16)
    full, latent = sample("ddpm"), sample("ddpm", networks=half)
    assert latent.dtype == torch.float32
    assert (latent - full).norm() < 0.05 * full.norm()


def test_given_noise_replaces_the_noise_of_the_seed() -> None:
    noise = torch.randn(LATENT, generator=torch.Generator().manual_seed(5))
    assert torch.equal(sample(noise=noise, seed=99), sample(seed=5))


def test_the_temperature_scales_the_starting_noise() -> None:
    noise = torch.randn(LATENT, generator=torch.Generator().manual_seed(5))
    assert torch.equal(sample(temperature=0.5), sample(noise=noise * 0.5))


def test_mask_class_spacing_region_and_solver_all_matter() -> None:
    def differs(a: torch.Tensor, b: torch.Tensor) -> bool:
        return not torch.allclose(a, b, atol=1e-3)

    rflow, ddpm = CONDITIONS["rflow"], CONDITIONS["ddpm"]
    assert differs(sample(), sample(channels=mask(2)))
    assert differs(sample(), sample(conditions=replace(rflow, class_label=torch.tensor([2]))))
    assert differs(sample(), sample(conditions=replace(rflow, spacing=torch.full((1, 3), 300.0))))
    assert differs(sample(), sample(solver="euler"))
    assert differs(sample("ddpm"), sample("ddpm", conditions=replace(ddpm, top_region=torch.eye(4)[:1] * 100)))
    assert differs(sample("ddpm"), sample("ddpm", conditions=replace(ddpm, bottom_region=torch.eye(4)[3:] * 100)))


@pytest.mark.parametrize("family", ["rflow", "ddpm"])
def test_guidance_in_one_batch_and_in_two_runs_give_the_same_latent(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    hook = NETWORKS[family].unet.conv_in.register_forward_hook(lambda _, given, __: batches.append(len(given[0])))
    latents = []
    try:
        for most in (math.prod(LATENT[2:]), math.prod(LATENT[2:]) - 1):
            monkeypatch.setattr(sampler, "TOGETHER", most)
            latents.append(sample(family, guidance=3.0, unconditional_embedding=embedded(mask(2), family)))
    finally:
        hook.remove()
    assert batches == [2] * STEPS + [1] * 2 * STEPS
    apart, influence = (latents[0] - latents[1]).abs().max(), (latents[0] - sample(family)).abs().max()
    assert apart < 1e-4
    assert influence > 10 * apart  # guidance matters here


def test_guidance_of_one_is_the_conditional_branch() -> None:
    guided = sample(guidance=1.0, unconditional_embedding=embedded(mask(2)))
    assert torch.allclose(guided, sample(), atol=1e-4)


def test_every_step_is_reported() -> None:
    events: list[ProgressEvent] = []
    sample(progress=Progress(events.append))
    assert [(event.stage, event.step, event.of) for event in events] == [
        ("denoise", i, STEPS) for i in range(STEPS + 1)
    ]
    assert events[0].seconds_left is None
    assert events[-1].seconds_left == 0


@pytest.mark.parametrize("family", ["rflow", "ddpm"])
def test_cancelling_stops_before_the_next_step(family: str) -> None:
    events: list[ProgressEvent] = []
    evaluations: list[int] = []
    hook = NETWORKS[family].unet.conv_in.register_forward_hook(lambda *_: evaluations.append(1))
    try:
        with pytest.raises(Cancelled):
            sample(family, progress=Progress(events.append, lambda: len(evaluations) == 2))
    finally:
        hook.remove()
    assert len(evaluations) == 2
    assert events[-1].step == 1


def test_a_grid_that_the_networks_cannot_halve_is_refused_with_one_that_fits() -> None:
    with pytest.raises(InputError, match="multiples of 16; use --size 32×16×16"):
        sample(channels=torch.zeros(1, 8, 36, 16, 4))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"guidance": 2.0}, "mask without tumors"),
        ({"guidance": 2.0, "unconditional_embedding": torch.zeros(1, 8, 4, 4, 4)}, "same grid"),
        ({"guidance": -1.0}, "positive"),
        ({"guidance": float("nan")}, "positive"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"noise": torch.zeros(1, 4, 4, 4, 4)}, "noise"),
        ({"solver": "magic"}, "solver"),
        ({"solver": "ddpm"}, "does not belong"),
        ({"steps": 0}, "steps"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_words(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        sample(**changes)


def test_running_out_of_memory_is_answered_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried …")

    monkeypatch.setattr(NETWORKS["rflow"].unet.out, "forward", fail)
    with pytest.raises(ResourceError, match="grid of 32×16×16 on 'cpu'; use a smaller --size"):
        sample()
