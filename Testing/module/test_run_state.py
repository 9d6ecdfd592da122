"""States of a run, signals, and what the lines of a worker mean."""

from __future__ import annotations

import pytest

from SynthCTModule.RunState import BUSY, NEXT, RunState, StateMachine
from SynthCTModule.Signal import Signal
from SynthCTModule.WorkerEvents import crashOf, failureOf, logText, parseLine


def machineIn(state: RunState) -> StateMachine:
    machine = StateMachine()
    machine.state = state
    return machine


@pytest.mark.parametrize("state", RunState)
@pytest.mark.parametrize("after", RunState)
def test_only_the_listed_changes_are_possible(state: RunState, after: RunState) -> None:
    machine = machineIn(state)
    if after in NEXT[state]:
        machine.to(after)
        assert machine.state is after
    else:
        with pytest.raises(RuntimeError, match=after.value):
            machine.to(after)
        assert machine.state is state


def test_a_new_run_can_start_from_every_state_that_is_not_busy() -> None:
    assert {state for state in RunState if RunState.CHECKING in NEXT[state]} == set(RunState) - set(BUSY)
    assert all(RunState.FAILED in NEXT[state] for state in BUSY)


def test_a_signal_calls_each_slot_once_and_in_order() -> None:
    signal, calls = Signal(), []

    def first(value: int) -> None:
        calls.append(("first", value))
        signal.disconnect(first)

    second = lambda value: calls.append(("second", value))  # noqa: E731
    for slot in (first, second, first):
        signal.connect(slot)
    signal.emit(1)
    signal.emit(2)
    assert calls == [("first", 1), ("second", 1), ("second", 2)]
    signal.disconnect(print)


@pytest.mark.parametrize("line", ["", "hello", '{"schema": 1, "event": ', '{"schema": 1}', '{"a": 1}', "[1]"])
def test_lines_that_are_no_events_are_text(line: str) -> None:
    assert parseLine(line) is None


def test_every_kind_of_event_has_a_line_for_the_log_or_none() -> None:
    seed = {"seed": 3}
    assert "seed 3" in logText({"event": "started", "version": "1", "pid": 2, "job": seed})
    assert logText({"event": "progress", "stage": "denoise", "step": 0, "of": 3}) == "Sampling"
    assert logText({"event": "progress", "stage": "denoise", "step": 1, "of": 3}) == ""
    assert logText({"event": "progress", "stage": "check unet", "step": 0, "of": 3}) == "Check unet"
    assert logText({"event": "finding", "message": "A.", "advice": "B."}) == "A. B."
    assert logText({"event": "result", "results": [{"summary": ["one", "two"]}]}) == "one\ntwo"
    assert logText({"event": "what is to come"}) == ""


def test_an_ambiguous_input_keeps_what_there_is_to_choose() -> None:
    event = {"event": "error", "kind": "ambiguous", "message": "Which?", "advice": "", "setting": "region"}
    failure = failureOf(event | {"choices": ["chest", "head"]})
    assert (failure.kind, failure.setting, failure.choices) == ("ambiguous", "region", ("chest", "head"))


def test_a_crash_is_told_with_its_code_and_a_missing_package_by_name() -> None:
    assert "137" in crashOf(137, []).text()
    text = crashOf(1, ["Traceback", "ModuleNotFoundError: No module named 'torch.cuda'"]).text()
    assert "torch.cuda" in text and "setup" in text
