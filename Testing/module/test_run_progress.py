"""Fraction and remaining time of a run over all its stages."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from SynthCTModule.RunProgress import EACH, ONCE, Progress, RunProgress, secondsText

EXPECTED = {"start": 4.0, "prepare": 1.0, "load": 1.0, "embed": 2.0, "denoise": 20.0, "decode": 8.0, "write": 1.0}


class Clock:
    """Time that only passes when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def simulate(
    pace: dict[str, float], count: int = 1, retries: int = 0, tries: int = 1
) -> Iterator[tuple[Progress, float]]:
    """Progress of a run whose stages take ``pace`` times what is expected, each with the seconds really left."""
    clock = Clock()
    progress = RunProgress(EXPECTED, count, retries, clock)
    plan: list[tuple[str, int, int, float]] = [("prepare", 0, 4, EXPECTED["start"] * pace["start"])]
    of = count * (retries + 1)
    images = [("image", number * (retries + 1) + one, of) for number in range(count) for one in range(tries)]
    for stage in ONCE[1:]:
        plan += [(stage, step, 4, EXPECTED[stage] * pace[stage] / 4 if step else 0.0) for step in range(5)]
    for image in images:
        plan += [(*image, 0.0)] if of > 1 else []
        for stage in EACH[:2]:
            plan += [(stage, step, 10, EXPECTED[stage] * pace[stage] / 10 if step else 0.0) for step in range(11)]
    plan += [("write", step, 1, EXPECTED["write"] * pace["write"] * step) for step in (0, 1)]
    left = sum(seconds for *_, seconds in plan)
    for stage, step, of, seconds in plan:
        clock.now += seconds
        left -= seconds
        yield progress.step(stage, step, of), left


def even(factor: float) -> dict[str, float]:
    return dict.fromkeys(EXPECTED, factor)


def test_a_run_as_expected_shows_the_time_that_is_left() -> None:
    for progress, left in simulate(even(1.0)):
        assert progress.secondsLeft == pytest.approx(left, abs=0.5)


@pytest.mark.parametrize("factor", [0.2, 0.5, 2.0, 5.0])
def test_a_slower_or_faster_computer_is_noticed_before_the_middle(factor: float) -> None:
    whole = factor * sum(EXPECTED.values())
    for progress, left in simulate(even(factor)):
        assert progress.secondsLeft is not None
        if left < 0.5 * whole:
            assert abs(progress.secondsLeft - left) < max(0.25 * whole, 5.0)


@pytest.mark.parametrize("stage", ["start", "denoise", "decode"])
@pytest.mark.parametrize("factor", [0.3, 4.0])
def test_the_remaining_time_never_jumps_wildly(stage: str, factor: float) -> None:
    shown = [progress.secondsLeft for progress, _ in simulate(even(1.0) | {stage: factor})]
    for before, after in pairwise(shown):
        assert before is not None and after is not None
        assert abs(after - before) < 0.5 * max(before, 10.0)


@pytest.mark.parametrize(("count", "retries", "tries"), [(1, 0, 1), (3, 0, 1), (1, 3, 3), (2, 2, 2)])
def test_the_fraction_never_falls_and_ends_at_one(count: int, retries: int, tries: int) -> None:
    fractions = [progress.fraction for progress, _ in simulate(even(1.0), count, retries, tries)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0) and fractions[0] < 0.2


def test_several_cts_are_counted_in_words() -> None:
    texts = [progress.text for progress, _ in simulate(even(1.0), count=3)]
    assert "Sampling, CT 2 of 3" in texts and "Preparing the mask" in texts


def test_stages_that_are_not_known_change_nothing() -> None:
    progress = RunProgress(EXPECTED, clock=Clock())
    before = progress.step("load", 1, 1)
    assert progress.step("polish", 0, 5).stage == before.stage


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (7.1, "8 s"),
        (42, "40 s"),
        (88, "90 s"),
        (100, "2 min"),
        (3500, "58 min"),
        (4800, "1 h 20 min"),
        (7200, "2 h"),
    ],
)
def test_times_are_rounded_so_that_they_do_not_flicker(seconds: float, text: str) -> None:
    assert secondsText(seconds) == text
