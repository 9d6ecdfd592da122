"""Shows events: with a progress bar on a terminal, as plain lines in a pipe or log, as JSON for machines.

Progress and findings go to standard error, results to standard output, so that other programs can use them.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from SynthCTLib.events import Event

STAGES = {
    "prepare": "Preparing the mask",
    "load": "Loading the model",
    "image": "CT",
    "embed": "Reading the mask",
    "denoise": "Sampling",
    "decode": "Decoding",
    "write": "Writing",
}
"""Words for stages; other stages are named in words by the code that reports them."""

PLAIN_INTERVAL = 5.0  # seconds between two progress lines of one stage


class View(Protocol):
    """Shows one event after another; ``close`` ends whatever is still moving on the screen."""

    def emit(self, event: Event) -> None:
        """Show an event."""

    def close(self) -> None:
        """Leave the screen tidy."""


def choose_view(as_json: bool) -> View:
    """The view that fits: JSON where asked for, a progress bar on a terminal, lines otherwise."""
    if as_json:
        return JsonView(sys.stdout)
    return TerminalView() if sys.stderr.isatty() else PlainView(sys.stderr)


class JsonView:
    """One JSON event per line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def emit(self, event: Event) -> None:
        """Write the event, in ASCII."""
        self._stream.write(json.dumps(event) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing to do."""


class PlainView:
    """Lines of text; progress at the beginning and end of a stage and every few seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = 0.0

    def emit(self, event: Event) -> None:
        """Write the event as a line, unless it is progress that came too soon."""
        if event["event"] == "progress":
            edge = event["step"] in (0, event["of"])
            if not edge and time.monotonic() - self._last < PLAIN_INTERVAL:
                return
            self._last = time.monotonic()
        stream = sys.stdout if event["event"] == "result" else self._stream
        for line in sentences(event):
            print(line, file=stream, flush=True)

    def close(self) -> None:
        """Nothing to do."""


class TerminalView:
    """A moving bar for the current stage, with everything else above it."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f} of {task.total:.0f}"),
            TextColumn("{task.fields[left]}"),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._stage: str | None = None
        self._task: TaskID | None = None

    def emit(self, event: Event) -> None:
        """Move the bar, or print the event above it."""
        if event["event"] == "progress":
            self._move(event)
            return
        if event["event"] in ("error", "cancelled", "result"):
            self.close()
        if event["event"] == "result":
            print(*sentences(event), sep="\n", flush=True)
            return
        style = {"error": "bold red", "warning": "yellow"}.get(str(event.get("severity", event["event"])))
        for line in sentences(event):
            self._console.print(line, style=style, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Stop the bar."""
        self._bar.stop()

    def _move(self, event: Event) -> None:
        self._bar.start()
        if event["stage"] != self._stage or self._task is None:
            self._stage = event["stage"]
            self._task = self._bar.add_task(stage_name(event["stage"]), total=max(1, event["of"]), left="")
        left = event["seconds_left"]
        words = "" if not left else f"{left:.0f} s left"
        done = event["step"] if event["of"] else 1
        self._bar.update(self._task, completed=done, total=max(1, event["of"]), left=words)


def stage_name(stage: str) -> str:
    """The stage in words."""
    return STAGES.get(stage, stage[:1].upper() + stage[1:])


def sentences(event: Event) -> list[str]:
    """An event as lines of text; none for events that say nothing to a person."""
    kind = event["event"]
    if kind == "progress":
        if event["of"] <= 1:
            return [f"{stage_name(event['stage'])} …"] if event["step"] == 0 else []
        left = f", about {event['seconds_left']:.0f} s left" if event["seconds_left"] else ""
        return [f"{stage_name(event['stage'])}: {event['step']} of {event['of']}{left}"]
    if kind == "finding":
        word = {"error": "Problem", "warning": "Warning", "info": "Note"}[event["severity"]]
        return [f"{word}: {event['message']} {event['advice']}".strip()]
    if kind == "warning":
        return [f"Warning: {event['message']}"]
    if kind == "error":
        return [f"Error: {event['message']} {event['advice']}".strip()]
    if kind == "cancelled":
        return [event["message"]]
    if kind == "result":
        return [line for result in event.get("results", []) for line in _result_lines(result)]
    return []


def _result_lines(result: dict[str, Any]) -> list[str]:
    written = result.get("ct") or result.get("mr") or result["mask"]
    return [*result.get("summary", []), f"Written: {written}"]
