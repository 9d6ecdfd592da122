"""Work in steps with a thread behind it, without Slicer."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
import pytest

from SynthCTModule.Work import AtOnce, finished, inBackground


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Python's cyclic collector rests."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def failing(copies: list[weakref.ref]) -> Generator[None, None, None]:
    """Work that fails in its thread while it holds voxels."""
    voxels = np.zeros(10)
    copies.append(weakref.ref(voxels))

    def compute() -> None:
        raise ValueError(f"{voxels.size} are too few")

    yield from inBackground(compute)


def run_to_the_end(work: Generator[None, None, Any]) -> str:
    """What it raises, as text."""
    try:
        finished(work)
    except ValueError as error:
        return str(error)
    return ""


def run_at_once(work: Generator[None, None, Any]) -> str:
    """As above, of the Runner for where there is no event loop."""
    told: list[str] = []
    AtOnce().start(work, lambda error: told.append(str(error)))
    return told[0]


@pytest.mark.parametrize("run", [run_to_the_end, run_at_once])
def test_work_that_has_failed_lets_go_of_its_voxels_at_once(
    run: Callable[[Generator[None, None, Any]], str], no_collector: None
) -> None:
    copies: list[weakref.ref] = []
    assert run(failing(copies)) == "10 are too few"
    assert len(copies) == 1 and copies[0]() is None


def test_work_at_once_tells_that_it_is_done() -> None:
    told: list[Any] = []
    AtOnce().start(inBackground(lambda: 1), told.append)
    assert told == [None]
