"""Stage *downstream*: is a segmenter better with synthetic CTs? Trained on real, synthetic and both, in folds.

Every patient is tested once per seed, by a segmenter that has not seen the patient, and the generator has seen none of
the patients at all. Arms with twice the volumes get twice the steps; the arm that has real volumes twice tells what
the steps alone do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_fabric import Fabric

from SynthCTLib.errors import InputError
from training.config import Config
from training.downstream.auto3dseg import write_auto3dseg
from training.downstream.cases import LabeledVolume, labeled_cases
from training.downstream.folds import assign_folds, share_of
from training.downstream.report import report
from training.downstream.runs import Run, complete, fingerprint
from training.downstream.scores import Scores, score
from training.downstream.segmenter import build_network, segment, train_segmenter
from training.downstream.synthetic import refuse_seen, synthetic_of

SOURCES = ("real", "synthetic")
DECIDING = ("seed", "spacing", "structures", "generator", "folds", "arms", "tolerance_mm", "network", "training")
"""Parts of the config that a result depends on, beside the data."""


@dataclass(frozen=True)
class Material:
    """Real and synthetic CT of each patient, and the fold in which the patient is tested."""

    volumes: dict[str, dict[str, LabeledVolume]]
    folds: dict[str, int]

    def training(self, run: Run, sources: Sequence[str]) -> list[LabeledVolume]:
        """The volumes of ``sources``, one after the other, of the run's share of the training patients."""
        others = [patient for patient, fold in self.folds.items() if fold != run.fold]
        chosen = share_of(others, run.share, run.seed)
        return [self.volumes[source][patient] for source in sources for patient in others if patient in chosen]

    def test(self, fold: int) -> list[LabeledVolume]:
        """The real CTs of the fold's patients."""
        return [self.volumes["real"][patient] for patient, place in self.folds.items() if place == fold]


def downstream(config: Config) -> None:
    """Train and test every (seed, fold, share, arm) that is not done yet, then write scorecard, figure and table.

    Raises:
        InputError: an arm of unknown volumes, too few cases, or a generator that knows one of the patients.
    """
    _check_arms(config)
    real = labeled_cases(config)
    refuse_seen(real, config["generator"])
    made = synthetic_of(real, config)
    volumes = {"real": {case.patient: case for case in real}, "synthetic": {case.patient: case for case in made}}
    material = Material(volumes, assign_folds(real, config["folds"], config["seed"]))
    write_auto3dseg(material.volumes, material.folds, config)
    fabric = Fabric(accelerator=config["accelerator"], devices=1, precision=config["training"]["precision"])
    fabric.launch()
    grid = [
        Run(seed, fold, share, arm)
        for seed in config["seeds"]
        for fold in range(config["folds"])
        for share in config["shares"]
        for arm in config["arms"]
    ]
    state = fingerprint([config[key] for key in DECIDING], sorted(material.folds.items()))
    results = complete(
        grid, Path(config["run"]) / "results", state, lambda run: _train_and_test(run, material, config, fabric)
    )
    report(config, results, material.folds)


def _check_arms(config: Config) -> None:
    for arm, sources in config["arms"].items():
        if not sources or not set(sources) <= set(SOURCES):
            raise InputError(f"The arm '{arm}' must be a list of {' and '.join(SOURCES)}, not {sources}.")
    unknown = {arm for pair in config["compare"] for arm in pair} - set(config["arms"])
    if unknown:
        raise InputError(f"There is no arm '{sorted(unknown)[0]}' to compare; known: {', '.join(config['arms'])}.")


def _train_and_test(run: Run, material: Material, config: Config, fabric: Fabric) -> dict[str, Scores]:
    """Scores of the fold's patients; the steps grow with the number of sources, whatever the share."""
    c, sources = config["training"], config["arms"][run.arm]
    outputs = len(config["structures"]) + 1
    network = build_network(config["network"], outputs, run.seed)
    volumes = material.training(run, sources)
    model = train_segmenter(network, volumes, c, outputs, c["steps"] * len(sources), run.seed, fabric)
    found = {}
    for case in material.test(run.fold):
        classes = segment(model, case, c["window"], fabric)
        found[case.patient] = score(
            classes, case.classes, [*config["structures"]], case.spacing, config["tolerance_mm"]
        )
    return found
