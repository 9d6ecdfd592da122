"""Runs one piece of work so that every outcome is an event and an exit code: for the worker and the command line."""

from __future__ import annotations

import errno
import os
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SynthCTLib import __version__
from SynthCTLib.errors import Cancelled, ResourceError, SynthCTError
from SynthCTLib.events import Emit, error_event, event, finding_event, internal_error_event, progress_event
from SynthCTLib.job import Job, job_to_json
from SynthCTLib.kept import Kept
from SynthCTLib.progress import Progress

if TYPE_CHECKING:
    from SynthCTLib.store import ModelStore

INTERNAL_ERROR = 70
"""Exit code of a fault of the program (EX_SOFTWARE in sysexits.h)."""

BROKEN_PIPE = 141
"""Exit code when nobody reads the events any more: what a shell reports for a program that SIGPIPE has ended."""

CANCELLED = Cancelled("Cancelled; nothing was written.")


def guarded(work: Callable[[], Any], emit: Emit, debug: bool = False) -> int:
    """Do the work; say in an event what went wrong, if anything; return the exit code.

    Unexpected exceptions become one sentence and a log file with the traceback; ``debug`` raises them instead.
    """
    try:
        return _told(work, emit, debug)
    except BrokenPipeError:
        return BROKEN_PIPE


def _told(work: Callable[[], Any], emit: Emit, debug: bool) -> int:
    try:
        work()
    except (Cancelled, KeyboardInterrupt):
        emit(event("cancelled", message=str(CANCELLED)))
        return CANCELLED.exit_code
    except SynthCTError as error:
        emit(error_event(error))
        return error.exit_code
    except BrokenPipeError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            full = ResourceError("The disk is full; free some space and run again.")
            emit(error_event(full))
            return full.exit_code
        if debug:
            raise
        emit(internal_error_event(error, write_log(error)))
        return INTERNAL_ERROR
    return 0


def run_generate(
    job: Job,
    emit: Emit,
    cancelled: Callable[[], bool] | None = None,
    store: ModelStore | None = None,
    kept: Kept | None = None,
) -> None:
    """Run ``generate``: events started, progress, finding, result. Raises what it raises."""
    job = job.with_seed()
    emit(event("started", version=__version__, pid=os.getpid(), job=job_to_json(job)))
    from SynthCTLib.pipeline import generate  # here, so that "started" does not wait seconds for PyTorch

    progress = Progress(lambda step: emit(progress_event(step)), cancelled)
    result = generate(job, progress, store, lambda finding: emit(finding_event(finding)), kept)
    for ct in result.cts:
        if not ct.passed:
            text = f"Some organs in '{ct.folder}' are too dark or too bright; try another seed, or more retries."
            emit(event("warning", message=text))
    emit(event("result", results=[ct.to_json() for ct in result.cts]))


def write_log(error: BaseException) -> Path | None:
    """Write the traceback to a new file in the temporary folder; None where that is impossible."""
    name = f"synthct-error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    path = Path(tempfile.gettempdir()) / name
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    try:
        path.write_text(f"SynthCT {__version__}\n{''.join(lines)}", encoding="utf-8")
    except OSError:
        return None
    return path
