"""Stage *swin-unetr-ssl*: is a segmenter better that first learned to fill in synthetic CTs? For shares of the labels.

Pre-trained on synthetic CTs of the training patients, then trained on a share of their real CTs, against the same from
random weights. How patients are kept apart: :mod:`training.downstream.experiment`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from SynthCTLib.errors import InputError
from training.config import Config
from training.downstream.inpainting import pretrain
from training.downstream.material import Material, gather, state_of
from training.downstream.report import report
from training.downstream.runs import Run, complete, full_grid
from training.downstream.scores import Scores
from training.downstream.segmenter import build_network, scores_of, train_segmenter
from training.downstream.settings import check_config
from training.loop import start_fabric
from training.settings import read_settings

NAME = "swin-unetr-ssl"
SCRATCH, PRETRAINED = "from scratch", "pre-trained on synthetic"
DECIDING = ("seed", "spacing", "structures", "generator", "folds", "network", "pretraining", "training", "tolerance_mm")
"""Parts of the config that a result depends on, beside data and weights."""


def swin_unetr_ssl(config: Config) -> None:
    """Pre-train, then train and test every (seed, share, arm) that is not done yet, then write what came out.

    Raises:
        InputError: a config that cannot be used, other arms than the two, too few cases, or a generator that knows
            one of the patients.
    """
    check_config(config, NAME)
    read_settings(config, "pretraining", "inpainting")
    if set(config["arms"]) != {SCRATCH, PRETRAINED}:
        raise InputError(f"The arms must be '{SCRATCH}' and '{PRETRAINED}', not {config['arms']}.")
    material = gather(config)
    fabric = start_fabric(config, config["training"]["precision"])
    state = state_of(config, DECIDING, material)
    weights = {fold: _pretrained(fold, state, material, config, fabric) for fold in config["test_folds"]}
    folder = Path(config["run"]) / "results"
    results = complete(
        full_grid(config), folder, state, lambda run: _train_and_test(run, material, weights[run.fold], config, fabric)
    )
    report(config, NAME, results)


def _pretrained(fold: int, state: str, material: Material, config: Config, fabric: Fabric) -> dict[str, torch.Tensor]:
    """Weights learned from the synthetic CTs of all patients whom ``fold`` does not test."""
    everybody = Run(config["seed"], fold, 1.0, PRETRAINED)
    return pretrain(config, f"inpainting-{fold}-{state[:12]}", material.training(everybody, ["synthetic"]), fabric)


def _train_and_test(
    run: Run, material: Material, weights: dict[str, torch.Tensor], config: Config, fabric: Fabric
) -> dict[str, Scores]:
    c, outputs = config["training"], len(config["structures"]) + 1
    network = build_network(config["network"], outputs, run.seed)
    if run.arm == PRETRAINED:
        _take_over(network, weights)
    model = train_segmenter(network, material.training(run, ["real"]), c, outputs, c["steps"], run.seed, fabric)
    return scores_of(model, material.test(run.fold), config, fabric)


def _take_over(network: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Load all layers but the last, ``out``. Raises InputError for a network that has other layers than these."""
    own = set(network.state_dict())
    last = {key for key in own if key.startswith("out.")}
    if not last or own - last != set(weights):
        raise InputError(
            "The pre-trained weights must be those of all layers but a last one called 'out', and are not; choose a "
            "'network' of MONAI that has it, such as SwinUNETR."
        )
    network.load_state_dict(weights, strict=False)
