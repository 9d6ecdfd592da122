"""Work in steps of Qt's timer: what is left of it in the end."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Generator
from typing import Any

import pytest


class Result:
    """Something large."""


def work() -> Generator[None, None, None]:
    """Two steps."""
    yield


@pytest.fixture
def steps(application: Any) -> Any:
    """Steps that nobody else uses."""
    from SynthCTModule.Steps import Steps

    made = Steps()
    yield made
    made.stop()


@pytest.mark.parametrize("end", ["done", "stopped"])
def test_what_is_told_of_the_end_is_not_kept(steps: Any, end: str) -> None:
    result, told = Result(), []
    kept = weakref.ref(result)
    steps.start(work(), lambda error, _result=result: told.append(error))
    del result
    steps.step()
    steps.step() if end == "done" else steps.stop()
    gc.collect()
    assert told == ([None] if end == "done" else []) and kept() is None


def test_an_interrupt_ends_the_work_and_is_no_success(steps: Any) -> None:
    def interrupted() -> Generator[None, None, None]:
        yield
        raise KeyboardInterrupt

    told: list[Any] = []
    steps.start(interrupted(), told.append)
    steps.step()
    with pytest.raises(KeyboardInterrupt):
        steps.step()
    assert not steps.busy and not steps._timer.isActive()
    steps.step()
    assert told == []


def test_scenes_that_are_closed_leave_no_timer_behind(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer

    from SynthCTModule import Workbench

    made: list[Any] = []
    original = Workbench.Steps
    monkeypatch.setattr(Workbench, "Steps", lambda: made.append(1) or original())
    slicer.mrmlScene.Clear(0)
    assert made == []


@pytest.mark.parametrize("last", [True, False])
def test_work_that_is_given_up_in_its_own_step_ends_with_it(steps: Any, last: bool) -> None:
    ended, told = [], []

    def gives_up() -> Generator[None, None, None]:
        try:
            steps.stop()
            if not last:
                yield
        finally:
            ended.append(True)

    steps.start(gives_up(), told.append)
    steps.step()
    assert ended == [True] and told == [] and not steps.busy
    steps.start(work(), told.append)
    steps.step()
    steps.step()
    assert told == [None]


def test_a_timeout_in_the_middle_of_a_step_is_let_pass(steps: Any) -> None:
    told: list[Any] = []

    def with_a_dialog() -> Generator[None, None, None]:
        steps.step()
        yield

    steps.start(with_a_dialog(), told.append)
    steps.step()
    assert steps.busy and told == []
    steps.step()
    assert told == [None]
