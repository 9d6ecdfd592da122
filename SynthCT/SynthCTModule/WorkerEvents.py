"""What the lines of a worker mean: events, their text for the log, and failures as a sentence with advice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from SynthCTModule.EngineText import engineText, findingText
from SynthCTModule.Translation import _

Event = dict[str, Any]
MARK = '{"schema": '
"""How an event begins; in Slicer it may follow unfinished text of a library, since both come through one pipe."""


def parseLine(line: str) -> Event | None:
    """The event in a line of output; None for lines that libraries print."""
    start = line.find(MARK)
    if start < 0:
        return None
    try:
        event = json.loads(line[start:])
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def stageText(stage: str) -> str:
    """A stage in words; stages of models' files are named in words by the engine."""
    words = {
        "start": _("Starting"),
        "prepare": _("Preparing the mask"),
        "load": _("Loading the model"),
        "image": _("Next CT"),
        "embed": _("Reading the mask"),
        "denoise": _("Sampling"),
        "decode": _("Decoding"),
        "write": _("Writing"),
    }
    return words.get(stage, stage[:1].upper() + stage[1:])


def logText(event: Mapping[str, Any]) -> str:
    """An event as a line of the log; empty for those that say nothing new to a person."""
    kind = event["event"]
    if kind == "started":
        return _("SynthCT {version}, process {pid}, seed {seed}").format(
            version=event.get("version", "?"), pid=event.get("pid", "?"), seed=event.get("job", {}).get("seed", "?")
        )
    if kind == "progress":
        return stageText(event["stage"]) if event.get("step") == 0 else ""
    if kind == "finding":
        return findingText(event)
    if kind in ("warning", "cancelled"):
        return engineText(str(event.get("message", "")))
    if kind == "error":
        return _("Error: {text}").format(text=failureOf(event).text())
    if kind == "result":
        return "\n".join(engineText(line) for result in event.get("results", []) for line in result.get("summary", []))
    return ""


@dataclass(frozen=True)
class Failure:
    """Why a run has failed: a sentence, what to do, the kind (of the worker's error event, or ``crash``).

    With kind ``ambiguous`` the user has to choose one of ``choices`` for ``setting`` (labels or region).
    """

    kind: str
    message: str
    advice: str = ""
    setting: str | None = None
    choices: tuple[str, ...] = ()

    def text(self) -> str:
        """Message and advice."""
        return f"{self.message} {self.advice}".strip()


def failureOf(event: Mapping[str, Any]) -> Failure:
    """The failure that an error event tells, with advice by its kind where the worker gives none."""
    kind = str(event.get("kind", "internal"))
    advice = engineText(str(event.get("advice", ""))) or _adviceFor(kind)
    choices = tuple(map(str, event.get("choices", ())))
    return Failure(kind, engineText(str(event.get("message", ""))), advice, event.get("setting"), choices)


def crashOf(exitCode: int, lastLines: list[str]) -> Failure:
    """The failure when a process has ended without saying why.

    PythonSlicer answers 1 for a child that was killed, a plain process −9 or 137, so the code alone decides little.
    """
    missing = next((line for line in reversed(lastLines) if "ModuleNotFoundError: No module named" in line), None)
    if missing is not None:
        name = missing.rpartition("named")[2].strip().strip("'\"")
        message = _("The Python package {name} is missing.").format(name=name)
        return Failure("crash", message, _("Install the packages in the setup panel, then try again."))
    message = _("The worker process has ended unexpectedly (exit code {code}).").format(code=exitCode)
    advice = _(
        "Most often memory ran out and the system ended it: choose a smaller size, close other programs, or use "
        "another device. The log shows its last lines."
    )
    return Failure("crash", message, advice)


def _adviceFor(kind: str) -> str:
    if kind == "resource":
        return _("Choose a smaller size or another device, or close other programs.")
    if kind == "model":
        return _("The model panel shows what is missing and gets it.")
    return ""
