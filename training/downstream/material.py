"""The volumes of an experiment: real and synthetic CT of each patient, and the fold that tests the patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from SynthCTLib.errors import InputError
from training.config import Config
from training.downstream.cases import LabeledVolume, labeled_cases
from training.downstream.folds import assign_folds, share_of
from training.downstream.runs import Run, fingerprint
from training.downstream.synthetic import refuse_seen, synthetic_of, weights_of
from training.provenance import data_hash

SOURCES = ("real", "synthetic")


@dataclass(frozen=True)
class Material:
    """``volumes``: ``real`` and ``synthetic`` by patient; ``folds``: patient → the fold in which it is tested."""

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


def state_of(config: Config, deciding: Sequence[str], material: Material) -> str:
    """Changes with all that a result depends on: keys of the config, prepared data, folds and generator."""
    return fingerprint(
        [config[key] for key in deciding],
        data_hash(config["prepared"]),
        sorted(material.folds.items()),
        weights_of(config["generator"]),
    )


def gather(config: Config) -> Material:
    """Cases of the config with all structures, and what the generator makes from their masks (made only once).

    Raises:
        InputError: too few cases, two of one patient, or a generator that knows one of the patients.
    """
    real = labeled_cases(config)
    refuse_seen(real, config["generator"])
    patients = [case.patient for case in real]
    twice = sorted({patient for patient in patients if patients.count(patient) > 1})
    if twice:
        raise InputError(
            f"The patient {twice[0]} has more than one case; keep one, the others in the config's 'exclude'."
        )
    made = synthetic_of(real, config)
    volumes = {"real": {case.patient: case for case in real}, "synthetic": {case.patient: case for case in made}}
    return Material(volumes, assign_folds(real, config["folds"], config["seed"]))
