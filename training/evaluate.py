"""Stage *evaluate*: the exported model against real CT and the trivial painter, all in one run on the same masks.

Sets, each on the same grids: ``real`` (held-out CT), ``synthetic`` (generated from its mask), ``painter`` (yardstick
below), ``reconstruction`` (real CT through the autoencoder: what the decoder allows at best), ``floor`` (other real CT,
from the training split). Written to ``<run>/evaluation.json`` with pictures beside it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from SynthCTLib.cards import load_card
from SynthCTLib.conditions import build_conditions
from SynthCTLib.decoder import decode_latent
from SynthCTLib.device import choose_device, inference_dtype
from SynthCTLib.embedding import embed_labels
from SynthCTLib.encoder import encode_image
from SynthCTLib.intensity import unit_to_hu
from SynthCTLib.loading import load_networks
from SynthCTLib.networks import Networks
from SynthCTLib.sampler import sample_latent
from SynthCTLib.store import ModelStore
from training.config import Config
from training.encode import pad_with_air, resample
from training.features import PLANES, SliceFeatures
from training.files import write_json
from training.following import median_by_label, threshold_dice
from training.frechet import bootstrap, frechet_distance, kernel_distance
from training.painter import measure_palette, paint
from training.patches import hu_to_unit
from training.pictures import comparison_picture
from training.prepare import read_cases

Features = dict[str, list[np.ndarray]]


def choose_cases(config: Config, split: str) -> list[dict]:
    """The first n cases of each group in ``evaluate.cases``; groups not named there count as ``other``."""
    wanted = dict(config["evaluate"]["cases"])
    chosen = []
    for meta in read_cases(config["prepared"], split):
        group = meta["group"] if meta["group"] in wanted else "other"
        if wanted.get(group, 0) > 0:
            wanted[group] -= 1
            chosen.append(meta)
    return chosen


def on_model_grid(config: Config, meta: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(HU int16 with air outside the body, mask uint8, spacing mm) of a case, padded to multiples of 16."""
    folder = Path(config["prepared"]) / meta["case_id"]
    hu, mask = np.load(folder / "ct.npy").astype(np.float32), np.load(folder / "mask.npy")
    hu[mask == 0] = -1000
    native = np.asarray(meta["spacing"])
    target = (
        native
        if meta["group"] in config["encode"]["native"]
        else np.maximum(config["evaluate"]["spacing"], 0.9 * native)
    )
    hu, mask = resample(hu, mask, native, target)
    hu, mask = pad_with_air(hu, mask, np.array([4, 4, 0]), 48)
    return np.clip(np.rint(hu), -1000, 1000).astype(np.int16), mask, target


def synthesize(
    networks: Networks, card: Any, mask: np.ndarray, spacing: np.ndarray, seed: int, steps: int
) -> np.ndarray:
    """int16 HU generated from a mask with the engine's own functions."""
    embedding = embed_labels(networks.controlnet, torch.from_numpy(mask), card.conditioning["hu_prior"])
    conditions = build_conditions(card.conditioning, [float(s) for s in spacing])
    latent = sample_latent(
        networks,
        embedding,
        conditions,
        scheduler=card.scheduler,
        seed=seed,
        steps=steps,
        solver=card.defaults["solver"],
        temperature=card.defaults.get("temperature", 1.0),
    )
    return unit_to_hu(decode_latent(networks.autoencoder, latent, networks.scale_factor), card.intensity, mask)


def reconstruct(networks: Networks, card: Any, hu: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Real CT through encoder and decoder."""
    latent = encode_image(networks.autoencoder, hu_to_unit(torch.from_numpy(hu.astype(np.float32))))
    return unit_to_hu(decode_latent(networks.autoencoder, latent, 1.0), card.intensity, mask)


def summary(values: list[float]) -> dict[str, float]:
    """Mean, standard deviation, minimum and number of the finite values."""
    finite = np.array([v for v in values if np.isfinite(v)])
    if not len(finite):
        return {"n": 0}
    return {"mean": float(finite.mean()), "sd": float(finite.std()), "min": float(finite.min()), "n": len(finite)}


def distances(reference: Features, other: Features) -> dict[str, Any]:
    """Fréchet and kernel distance per plane and their means, with an interval over volumes for the Fréchet mean."""
    result: dict[str, Any] = {}
    for plane in PLANES:
        a, b = np.concatenate(reference[plane]), np.concatenate(other[plane])
        result[plane] = {"frechet": frechet_distance(a, b), "kernel": kernel_distance(a, b)}
    result["frechet"] = float(np.mean([result[p]["frechet"] for p in PLANES]))
    result["kernel"] = float(np.mean([result[p]["kernel"] for p in PLANES]))
    result["axial_frechet_90_percent"] = bootstrap(frechet_distance, reference["axial"], other["axial"], 20, 0)
    return result


def evaluate(config: Config) -> None:
    """Run the comparison and print the scorecard."""
    c = config["evaluate"]
    run = Path(config["run"])
    card = load_card(config["export"]["folder"])
    device = choose_device("auto")
    networks = load_networks(card, ModelStore(), device, inference_dtype(device))  # as users run it
    palette = measure_palette(Path(config["prepared"]))
    embed = SliceFeatures(c["slices"])
    features: dict[str, Features] = defaultdict(lambda: defaultdict(list))
    dices: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    medians: dict[str, list[float]] = defaultdict(list)
    cases = choose_cases(config, "val")
    for number, meta in enumerate(cases):
        began = time.monotonic()
        hu, mask, spacing = on_model_grid(config, meta)
        volumes = {
            "real": hu,
            "synthetic": synthesize(networks, card, mask, spacing, number, c["steps"]),
            "painter": paint(mask, palette, number),
            "reconstruction": reconstruct(networks, card, hu, mask),
        }
        truth = median_by_label(hu, mask)
        for name, volume in volumes.items():
            for plane, values in embed(volume, tuple(spacing)).items():
                features[name][plane].append(values)
            for structure, value in threshold_dice(volume, mask).items():
                dices[name][structure].append(value)
            found = median_by_label(volume, mask)
            medians[name] += [abs(found[label] - truth[label]) for label in truth]
        comparison_picture(run / "evaluation" / f"{meta['case_id']}.png", volumes, mask, spacing)
        print(f"{number + 1}/{len(cases)} {meta['case_id']} {hu.shape} {time.monotonic() - began:.0f} s", flush=True)
    for meta in choose_cases(config, "train"):
        hu, _, spacing = on_model_grid(config, meta)
        for plane, values in embed(hu, tuple(spacing)).items():
            features["floor"][plane].append(values)
    report = {
        "model": card.id,
        "files": {part: file["sha256"] for part, file in card.files.items()},
        "cases": [m["case_id"] for m in cases],
        "steps": c["steps"],
        "solver": card.defaults["solver"],
        "temperature": card.defaults["temperature"],
        "distance_to_real": {n: distances(features["real"], f) for n, f in features.items() if n != "real"},
        "dice_with_mask": {n: {s: summary(v) for s, v in d.items()} for n, d in dices.items()},
        "organ_median_error_hu": {n: summary(v) for n, v in medians.items()},
    }
    report["dice_share_of_real"] = {
        name: {
            s: report["dice_with_mask"][name][s]["mean"] / v["mean"]
            for s, v in report["dice_with_mask"]["real"].items()
            if v["n"]
        }
        for name in dices
        if name != "real"
    }
    report["labeled_training_cases"] = [labeled_case(config, networks, card, palette, case) for case in c["labeled"]]
    write_json(run / "evaluation.json", report)
    print_scorecard(report)


def labeled_case(config: Config, networks: Networks, card: Any, palette: dict, case_id: str) -> dict[str, Any]:
    """Median HU per organ, real and synthetic, in a case with many organ labels (all seen in training)."""
    meta = next(m for m in read_cases(config["prepared"], "train") if m["case_id"] == case_id)
    hu, mask, spacing = on_model_grid(config, meta)
    synthetic = synthesize(networks, card, mask, spacing, 7, config["evaluate"]["steps"])
    painted = paint(mask, palette, 7)
    comparison_picture(
        Path(config["run"]) / "evaluation" / f"{case_id}.png",
        {"real": hu, "synthetic": synthetic, "painter": painted},
        mask,
        spacing,
    )
    real, made = median_by_label(hu, mask), median_by_label(synthetic, mask)
    return {
        "case_id": case_id,
        "median_hu": {str(label): [real[label], made[label]] for label in real},
        "median_error_hu": summary([abs(real[label] - made[label]) for label in real]),
        "dice_with_mask": {"real": threshold_dice(hu, mask), "synthetic": threshold_dice(synthetic, mask)},
    }


def print_scorecard(report: dict[str, Any]) -> None:
    """The report as a short table."""
    print(f"{'set':16}{'Frechet':>10}{'kernel':>10}{'median err':>12}  Dice with the mask (share of real)")
    for name in ("real", "floor", "reconstruction", "synthetic", "painter"):
        distance = report["distance_to_real"].get(name, {})
        error = report["organ_median_error_hu"].get(name, {})
        dice = report["dice_with_mask"].get(name, {})
        share = report["dice_share_of_real"].get(name, {})
        text = "  ".join(f"{s} {v['mean']:.3f} ({share.get(s, 1):.2f})" for s, v in dice.items() if v["n"])
        numbers = f"{distance.get('frechet', 0):10.2f}{distance.get('kernel', 0):10.4f}{error.get('mean', 0):12.1f}"
        print(f"{name:16}{numbers}  {text}")
