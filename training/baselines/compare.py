"""Stage *baselines*: each method is trained, makes as many volumes as there are held-out cases, and is judged.

Written are ``<out>/<method>.json``, a page with pictures below ``<run>/scorecards``, and the tables inside ``table``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from SynthCTLib.device import choose_device
from SynthCTLib.errors import InputError
from training.baselines.ha_gan import train_ha_gan
from training.baselines.ldm import train_ldm
from training.baselines.method import Trained, Work
from training.baselines.ours import train_conditional, train_unconditional
from training.baselines.pixel_ddpm import train_pixel_ddpm
from training.baselines.tables import BLOCK, write_tables
from training.baselines.volumes import read_volumes, training_volumes
from training.config import Config
from training.files import write_json, write_text
from training.made_scans import make_scans
from training.metrics.extractors import CachedFeatures, build_extractors
from training.page_block import around_block
from training.provenance import command, commit, data_hash
from training.scans import Scan
from training.scorecard import Material, distances_in_halves, judge, without_nan
from training.scorecard_page import scorecard_page
from training.subjects import Subject

METHODS: dict[str, tuple[Callable[[Work], Trained], str]] = {
    "pixel-ddpm": (train_pixel_ddpm, "pixel-ddpm"),
    "ldm": (train_ldm, "ldm"),
    "ha-gan": (train_ha_gan, "ha-gan"),
    "synthct-unconditional": (train_unconditional, "synthct"),
    "synthct-conditional": (train_conditional, "synthct"),
}
"""How each method is trained, and the section of the config that is about it."""

PICTURES = 8


def baselines(config: Config) -> None:
    """Train and judge the config's ``methods``, one after the other; what is there already is not made again.

    Raises:
        InputError: an unknown method, no cases, or a page without a block for the tables.
    """
    for name in config["methods"]:
        if name not in METHODS:
            raise InputError(f"There is no method '{name}'; choose from {', '.join(METHODS)}.")
    around_block(Path(config["table"]), BLOCK)  # an error after the training would be late
    training, held_out = read_volumes(config, "train"), read_volumes(config, "val")
    for name in config["methods"]:
        trained = train(config, name, training)
        card, material = judge_method(config, name, trained, training, held_out)
        write_json(Path(config["out"]) / f"{name}.json", card)
        page = scorecard_page(card, [(scan, None) for scan in material.made[:PICTURES]])
        write_text(Path(config["run"]) / "scorecards" / f"{name}.html", page)
        print(f"{Path(config['out']) / name}.json", flush=True)
    write_tables(Path(config["table"]), Path(config["out"]), list(METHODS))


def train(config: Config, name: str, training: list[Scan]) -> Trained:
    """Train a method, or go on where it was stopped."""
    device = choose_device(config["device"])
    torch.manual_seed(config["seed"])  # the weights at the start
    function, section = METHODS[name]
    work = Work(
        training_volumes(training, device),
        training[0].spacing,
        config[section],
        60.0 * config["minutes"],
        Path(config["run"]),
        config["seed"],
        device,
    )
    return function(work)


def judge_method(
    config: Config, name: str, trained: Trained, training: list[Scan], held_out: list[Scan]
) -> tuple[dict[str, Any], Material]:
    """(Scorecard, what was compared) of CTs that the trained method makes for the held-out cases."""
    settings = {"minutes": config["minutes"], "training": trained.training, "settings": config[METHODS[name][1]]}

    def make(scan: Scan, seed: int) -> np.ndarray:
        unit = trained.make(scan, seed).float().cpu().numpy()
        return np.clip(np.rint(unit * 2000 - 1000), -1000, 1000).astype(np.int16)

    folder = Path(config["run"]) / "synthetic" / name
    made, cost = make_scans(Subject(make, settings), held_out, folder)
    scores, material = judge_made(config, made, trained.conditional, training, held_out)
    card = {
        **about(config, name, len(made), len(training)),
        "conditional": trained.conditional,
        **settings,
        **scores,
        "cost": cost.as_json(),
    }
    return without_nan(card), material


def about(config: Config, name: str, n: int, n_training: int) -> dict[str, Any]:
    """What a scorecard of this comparison says first: data, command, grid."""
    return {
        "name": name,
        "subject": name,
        "n": n,
        "data": data_hash(config["prepared"]),
        "command": command(),
        "commit": commit(),
        "collection": config["group"],
        "n_training": n_training,
        "grid": config["grid"],
    }


def judge_made(
    config: Config, made: list[Scan], conditional: bool, training: list[Scan], held_out: list[Scan]
) -> tuple[dict[str, Any], Material]:
    """(Scores, what was compared) of CTs on the config's grid, however they came about.

    ``frechet`` compares with held-out patients, ``frechet_seen`` with ``judge.seen`` patients of the training; both in
    halves (``metrics/halves.py``).
    """
    c, run = config["judge"], Path(config["run"])
    order = np.random.default_rng(config["seed"]).permutation(len(training))
    others = [training[i] for i in order[: len(held_out)]]
    material = Material(made, held_out, others, conditional)
    extractors = [
        CachedFeatures(e, run / "features") for e in build_extractors(c["extractors"], c["slices"], c["radimagenet"])
    ]
    scores, _ = judge(material, extractors, [scan.hu for scan in training], c, config["seed"], run)
    seen = [training[i] for i in order[: c["seen"]]]
    against_seen = distances_in_halves(Material(made, seen, [], False), extractors, c["rounds"], config["seed"])
    return {**scores, "frechet_seen": against_seen["frechet"]}, material
