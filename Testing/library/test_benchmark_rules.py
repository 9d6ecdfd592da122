"""The rules by which benchmarks choose a default and lift a model's limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.solvers import YARDSTICK, cheapest
from benchmarks.whole_volume import without_limits
from SynthCTLib.cards import load_card
from SynthCTLib.model_files import read_json
from SynthCTLib.resources import resource_path


def row(solver: str, steps: int, hu: float, frechet: float) -> list[Any]:
    return [solver, steps, 0.0, hu, frechet]


def test_the_default_is_the_fewest_steps_that_are_as_near_as_the_yardstick() -> None:
    yardstick = row(*YARDSTICK, 2.3, 54.0)
    rows = [yardstick, row("ab2", 12, 2.5, 54.0), row("ab2", 13, 2.2, 54.0), row("ab3", 13, 2.1, 54.0)]
    assert cheapest([*rows, row("ab2", 15, 1.0, 54.0)])["hu"] == row("ab3", 13, 2.1, 54.0)


def test_by_the_frechet_distance_a_little_more_is_as_good_and_much_more_is_not() -> None:
    rows = [row(*YARDSTICK, 2.3, 100.0), row("ab2", 4, 9.0, 150.0), row("ab2", 8, 5.0, 100.01)]
    assert cheapest(rows)["frechet"] == row("ab2", 8, 5.0, 100.01)


def test_without_the_yardstick_nothing_is_called_as_good() -> None:
    assert cheapest([row("ab2", 12, 2.5, 54.0)]) == {"hu": None, "frechet": None}


def test_a_card_without_limits_is_a_copy(tmp_path: Path) -> None:
    source = resource_path("models", "synthct-embedded-v2")
    before = read_json(source / "card.json")
    grid = read_json(without_limits(source, tmp_path / "model") / "card.json")["grid"]
    assert grid["xy"]["max"] > before["grid"]["xy"]["max"] and grid["spacing_xy"] == [0.1, 10.0]
    assert read_json(source / "card.json") == before


def test_a_model_that_is_trained_as_nvidias_samples_as_nvidias() -> None:
    config = read_json(Path(__file__).parents[2] / "training" / "configs" / "maisi-rflow.json")
    card = load_card("nv-generate-ct-rflow")
    steps = config["export"]["card"]["defaults"]["steps"]
    assert steps == card.defaults["steps"] == config["evaluate"]["steps"]
