"""Which temperature for the embedded model? Chosen on TRAINING cases, so that the held-out ones stay unseen.

    python -m benchmarks.temperature [--cases 6] [--temperatures 0.3 0.4 0.5 0.7]

For each temperature (the standard deviation of the starting noise): Dice of thresholded bone, lung and body with the
mask as a share of what the real CT reaches, the mean error of organ medians, the Fréchet distance to the real CTs (2.5D
features as in the stage *evaluate*), and the texture: the standard deviation of HU in unlabeled soft tissue as a share
of the real one. Needs the prepared data of training. The last line is JSON: the table.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.full_size import tell
from SynthCTLib.cards import load_card
from SynthCTLib.device import choose_device, inference_dtype
from SynthCTLib.labels import BODY
from SynthCTLib.loading import load_networks
from SynthCTLib.store import ModelStore
from training.config import load_config
from training.metrics.extractors import EfficientNetLite0
from training.metrics.following import threshold_dice
from training.metrics.frechet import mean_frechet
from training.metrics.organ_hu import median_by_label
from training.prepare import read_cases
from training.scans import on_model_grid
from training.subjects import synthesize

STRUCTURES = ("bone", "lung", "body")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("training/configs/embedded-v2.json"))
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--temperatures", type=float, nargs="+", default=(0.3, 0.4, 0.5, 0.7))
    options = parser.parse_args()
    config = load_config(options.config, [])
    card, device = load_card(config["export"]["folder"]), choose_device("auto")
    networks = load_networks(card, ModelStore(), device, inference_dtype(device))
    embed = EfficientNetLite0(config["evaluate"]["slices"])
    everyone = read_cases(config["prepared"], "train")
    chosen = [everyone[i] for i in np.linspace(0, len(everyone) - 1, options.cases).round().astype(int)]
    features: dict[Any, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    dices: dict[Any, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    medians: dict[Any, list[float]] = defaultdict(list)
    texture: dict[Any, list[float]] = defaultdict(list)
    for number, meta in enumerate(chosen):
        real, mask, spacing = on_model_grid(config, meta)
        volumes: dict[Any, np.ndarray] = {"real": real}
        for temperature in options.temperatures:
            card.defaults["temperature"] = temperature
            volumes[temperature] = synthesize(networks, card, mask, spacing, number, card.defaults["steps"])
        truth, soft = median_by_label(real, mask), mask == BODY
        for key, hu in volumes.items():
            for plane, values in embed(hu, tuple(spacing)).items():
                features[key][plane].append(values)
            for structure, value in threshold_dice(hu, mask).items():
                dices[key][structure].append(value)
            found = median_by_label(hu, mask)
            medians[key] += [abs(found[label] - truth[label]) for label in truth]
            texture[key].append(float(hu[soft].std() / real[soft].std()))
        print(f"{number + 1}/{len(chosen)} {meta['case_id']}", flush=True)
    rows = []
    print(f"{'temperature':12}{'bone':>8}{'lung':>8}{'body':>8}{'median HU':>11}{'texture':>9}{'Fréchet':>9}")
    for temperature in options.temperatures:
        shares = [np.mean(dices[temperature][s]) / np.mean(dices["real"][s]) for s in STRUCTURES]
        frechet = mean_frechet(features["real"], features[temperature])
        row = [*shares, np.mean(medians[temperature]), np.mean(texture[temperature]), frechet]
        rows.append([temperature, *(round(float(value), 3) for value in row)])
        print(f"{temperature:<12}{row[0]:8.3f}{row[1]:8.3f}{row[2]:8.3f}{row[3]:11.1f}{row[4]:9.2f}{row[5]:9.2f}")
    tell({"cases": [meta["case_id"] for meta in chosen], "rows": rows})


if __name__ == "__main__":
    main()
