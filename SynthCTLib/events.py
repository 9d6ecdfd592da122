"""Events: what a run says while it works, as dictionaries that a worker prints, a terminal shows and a test collects.

Their form is versioned (``schema``) and written down in ``Resources/schemas/event.schema.json`` and
``docs/worker-protocol.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from SynthCTLib.errors import AmbiguousInputError, SynthCTError
from SynthCTLib.findings import Finding
from SynthCTLib.progress import ProgressEvent

SCHEMA = 1
Event = dict[str, Any]
Emit = Callable[[Event], None]


def event(name: str, /, **values: Any) -> Event:
    """An event of this name with the schema version in front."""
    return {"schema": SCHEMA, "event": name, **values}


def progress_event(progress: ProgressEvent) -> Event:
    """Step ``step`` of ``of`` in ``stage`` is done."""
    left = progress.seconds_left
    return event(
        "progress",
        stage=progress.stage,
        step=progress.step,
        of=progress.of,
        seconds_left=None if left is None else round(left, 1),
    )


def finding_event(finding: Finding) -> Event:
    """Something a check has found in the segmentation."""
    return event("finding", **finding.to_json())


def error_event(error: SynthCTError, advice: str = "") -> Event:
    """The run has failed; ``setting`` and ``choices`` are there when the user has to choose one of them for it."""
    values: Event = {"kind": error.kind, "message": str(error), "advice": advice}
    if isinstance(error, AmbiguousInputError):
        values |= {"setting": error.setting, "choices": list(error.choices)}
    return event("error", **values)


def internal_error_event(error: BaseException, log: Path | None) -> Event:
    """A failure that is a fault of the program; the traceback is in the file ``log``."""
    advice = f"This is a fault of SynthCT. Details for a report are in {log}." if log else "Details are printed above."
    return event("error", kind="internal", message=f"Unexpected {type(error).__name__}: {error}", advice=advice)
