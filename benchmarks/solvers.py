"""How many steps are enough? Every solver at several numbers of steps, on the embedded model and real masks.

    python -m benchmarks.solvers [--config training/configs/embedded-v2.json] [--cases 6] [--reference-steps 200]
        [--solvers ab2 euler] [--steps 10 12 30]

For each solver and number of steps: the distance of the latent from the solution with many steps of ab2 from the same
noise (root mean square, latents have unit variance), the mean absolute difference of the images in HU inside
the body, and the Fréchet distance (2.5D features as in the stage *evaluate*) to the held-out real CTs. ``euler-exact``
repeats the reference's rounding of times. Images are what users get, refined by the mask if the model has a refiner.
Needs the prepared data of training. The last line is JSON: the table, and ``cheapest``: the fewest evaluations that are
as good as 30 steps of Euler's method, by ``hu`` (no larger difference of the images) and by ``frechet`` (a distance at
most 1 % above), each null where those 30 steps were left out.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.full_size import tell
from SynthCTLib.cards import ModelCard, load_card
from SynthCTLib.conditions import Conditions, build_conditions
from SynthCTLib.device import choose_device, inference_dtype
from SynthCTLib.embedding import embed_labels
from SynthCTLib.image import latent_to_image
from SynthCTLib.intensity import unit_to_hu
from SynthCTLib.loading import load_networks
from SynthCTLib.networks import Networks
from SynthCTLib.sampler import latent_shape, sample_latent
from SynthCTLib.store import ModelStore
from training.config import load_config
from training.metrics.extractors import EfficientNetLite0
from training.metrics.frechet import mean_frechet
from training.prepare import read_cases
from training.scans import on_model_grid

SOLVERS = ("euler-exact", "euler", "ab2", "ab3", "dpm2m")
STEPS = (4, 6, 8, 10, 15, 20, 30)
YARDSTICK = ("euler", 30)
TRUTH = "ab2"
TOLERANCE = 0.01
"""Share by which a Fréchet distance may exceed the yardstick's and still count as equal."""


@dataclass(frozen=True)
class Condition:
    """One mask, ready for the sampler, with its starting noise."""

    mask: np.ndarray
    embedding: torch.Tensor
    conditions: Conditions
    noise: torch.Tensor


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("training/configs/embedded-v2.json"))
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--reference-steps", type=int, default=200)
    parser.add_argument("--solvers", nargs="+", choices=SOLVERS, default=SOLVERS)
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    options = parser.parse_args()
    config = load_config(options.config, [])
    card, device = load_card(config["export"]["folder"]), choose_device("auto")
    networks = load_networks(card, ModelStore(), device, inference_dtype(device))
    embed = EfficientNetLite0(config["evaluate"]["slices"])
    everyone = read_cases(config["prepared"], "val")
    chosen = [everyone[i] for i in np.linspace(0, len(everyone) - 1, options.cases).round().astype(int)]
    features: dict[Any, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    errors: dict[Any, list[tuple[float, float]]] = defaultdict(list)
    for number, meta in enumerate(chosen):
        real, mask, spacing = on_model_grid(config, meta)
        condition = prepare(networks, card, mask, spacing, number)
        truth, true_hu = make(networks, card, condition, TRUTH, options.reference_steps)
        body = mask > 0
        volumes: dict[Any, np.ndarray] = {"real": real, "many": true_hu}
        for solver, steps in product(options.solvers, options.steps):
            latent, hu = make(networks, card, condition, solver, steps)
            off = float((latent - truth).square().mean().sqrt())
            errors[solver, steps].append((off, float(np.abs(hu[body].astype(int) - true_hu[body]).mean())))
            volumes[solver, steps] = hu
        for key, hu in volumes.items():
            for plane, values in embed(hu, tuple(spacing)).items():
                features[key][plane].append(values)
        print(f"{number + 1}/{len(chosen)} {meta['case_id']}", flush=True)
    report(errors, features, options.reference_steps)


def prepare(networks: Networks, card: ModelCard, mask: np.ndarray, spacing: np.ndarray, seed: int) -> Condition:
    """Embed a mask and draw its noise."""
    embedding = embed_labels(networks.controlnet, torch.from_numpy(mask), card.conditioning["hu_prior"])
    conditions = build_conditions(card.conditioning, [float(s) for s in spacing])
    generator = torch.Generator().manual_seed(seed)
    return Condition(
        mask, embedding, conditions, torch.randn(latent_shape(networks, embedding.shape), generator=generator)
    )


def make(
    networks: Networks, card: ModelCard, condition: Condition, solver: str, steps: int
) -> tuple[torch.Tensor, np.ndarray]:
    """Latent and HU of one run, at the card's temperature."""
    latent = sample_latent(
        networks,
        condition.embedding,
        condition.conditions,
        scheduler=card.scheduler,
        seed=0,
        steps=steps,
        solver=solver,
        temperature=card.defaults.get("temperature", 1.0),
        noise=condition.noise,
    )
    unit = latent_to_image(networks, latent, condition.mask).unit
    return latent, unit_to_hu(unit, card.intensity, condition.mask)


def report(errors: dict[Any, list[tuple[float, float]]], features: Any, many: int) -> None:
    """Table and JSON."""
    frechet = {key: mean_frechet(features["real"], found) for key, found in features.items() if key != "real"}
    rows = []
    print(f"{TRUTH}, {many} steps: Fréchet {frechet['many']:.2f}")
    print(f"{'solver':12}{'steps':>6}{'latent RMS':>12}{'HU':>8}{'Fréchet':>9}")
    for (solver, steps), found in errors.items():
        latent, hu = np.mean(found, axis=0)
        rows.append([solver, steps, round(float(latent), 4), round(float(hu), 2), round(frechet[solver, steps], 2)])
        print(f"{solver:12}{steps:6}{latent:12.4f}{hu:8.2f}{frechet[solver, steps]:9.2f}")
    tell({"rows": rows, "many": round(frechet["many"], 2), "cheapest": cheapest(rows)})


def cheapest(rows: list[list[Any]]) -> dict[str, list[Any] | None]:
    """The row with the fewest steps that is as good as the yardstick's, by ``hu`` and by ``frechet``."""
    yardstick = next((row for row in rows if tuple(row[:2]) == YARDSTICK), None)
    if yardstick is None:
        return {"hu": None, "frechet": None}
    near = [row for row in rows if row[3] <= yardstick[3]]
    alike = [row for row in rows if row[4] <= (1 + TOLERANCE) * yardstick[4]]
    return {"hu": min(near, key=_steps_then_hu), "frechet": min(alike, key=_steps_then_hu)}


def _steps_then_hu(row: list[Any]) -> tuple[int, float]:
    return row[1], row[3]


if __name__ == "__main__":
    main()
