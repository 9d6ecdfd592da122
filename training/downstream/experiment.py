"""Stage *downstream*: is a segmenter better with synthetic CTs? Trained on real, synthetic and both, in folds.

Every patient is tested once per seed, by a segmenter that has not seen the patient, and the generator has seen none of
the patients at all. Arms with twice the volumes get twice the steps; the arm that has real volumes twice tells what
the steps alone do.
"""

from __future__ import annotations

from pathlib import Path

from lightning_fabric import Fabric

from SynthCTLib.errors import InputError
from training.config import Config
from training.downstream.auto3dseg import write_auto3dseg
from training.downstream.material import SOURCES, Material, gather, state_of
from training.downstream.report import report
from training.downstream.runs import Run, complete, full_grid
from training.downstream.scores import Scores
from training.downstream.segmenter import build_network, scores_of, train_segmenter
from training.downstream.settings import check_config
from training.loop import start_fabric

NAME = "downstream"
DECIDING = ("seed", "spacing", "structures", "generator", "folds", "arms", "tolerance_mm", "network", "training")
"""Parts of the config that a result depends on, beside data and weights."""


def downstream(config: Config) -> None:
    """Train and test every (seed, fold, share, arm) that is not done yet, then write scorecard, figure and table.

    Raises:
        InputError: a config that cannot be used, an arm of unknown volumes, too few cases, or a generator that knows
            one of the patients.
    """
    check_config(config, NAME)
    _check_arms(config)
    material = gather(config)
    write_auto3dseg(material.volumes, material.folds, config)
    fabric = start_fabric(config, config["training"]["precision"])
    state = state_of(config, DECIDING, material)
    folder = Path(config["run"]) / "results"
    results = complete(full_grid(config), folder, state, lambda run: _train_and_test(run, material, config, fabric))
    report(config, NAME, results)


def _check_arms(config: Config) -> None:
    for arm, sources in config["arms"].items():
        if not sources or not set(sources) <= set(SOURCES):
            raise InputError(f"The arm '{arm}' must be a list of {' and '.join(SOURCES)}, not {sources}.")


def _train_and_test(run: Run, material: Material, config: Config, fabric: Fabric) -> dict[str, Scores]:
    """Scores of the fold's patients; the steps grow with the number of sources, whatever the share."""
    c, sources = config["training"], config["arms"][run.arm]
    outputs = len(config["structures"]) + 1
    network = build_network(config["network"], outputs, run.seed)
    volumes = material.training(run, sources)
    model = train_segmenter(network, volumes, c, outputs, c["steps"] * len(sources), run.seed, fabric)
    return scores_of(model, material.test(run.fold), config, fabric)
