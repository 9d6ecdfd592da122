"""The states of a run and which may follow which, so that no button leads into a state nobody thought of."""

from __future__ import annotations

from enum import Enum

from SynthCTModule.Signal import Signal


class RunState(str, Enum):
    """What a run is doing, or how the last one has ended."""

    IDLE = "idle"
    CHECKING = "checking"
    RUNNING = "running"
    IMPORTING = "importing"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


BUSY = (RunState.CHECKING, RunState.RUNNING, RunState.IMPORTING)

NEXT = {
    RunState.IDLE: (RunState.CHECKING,),
    RunState.CHECKING: (RunState.RUNNING, RunState.CANCELLED, RunState.FAILED),
    RunState.RUNNING: (RunState.IMPORTING, RunState.CANCELLED, RunState.FAILED),
    RunState.IMPORTING: (RunState.DONE, RunState.CANCELLED, RunState.FAILED),
    RunState.DONE: (RunState.CHECKING, RunState.IDLE),
    RunState.CANCELLED: (RunState.CHECKING, RunState.IDLE),
    RunState.FAILED: (RunState.CHECKING, RunState.IDLE),
}


class StateMachine:
    """Holds a state, changes it along NEXT only, and emits ``changed(state)``."""

    def __init__(self) -> None:
        self.state = RunState.IDLE
        self.changed = Signal()

    @property
    def busy(self) -> bool:
        """Whether a run is going on."""
        return self.state in BUSY

    def to(self, state: RunState) -> None:
        """Change the state. Raises RuntimeError for a change that does not exist."""
        if state not in NEXT[self.state]:
            raise RuntimeError(f"A run cannot go from '{self.state.value}' to '{state.value}'.")
        self.state = state
        self.changed.emit(state)
