"""``python -m SynthCTLib.worker job.json``: one job in its own process, one JSON event per line on standard output.

Written down in ``docs/worker-protocol.md``. Standard output carries events and nothing else: what libraries print goes
to standard error. SIGTERM, SIGINT or a line ``cancel`` on standard input stop the run between two steps; a process that
is killed leaves at most a hidden working folder, which the next run removes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from SynthCTLib.events import Emit, Event
from SynthCTLib.job import Job, read_job
from SynthCTLib.runner import guarded, run_generate


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job of a job file; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m SynthCTLib.worker", description=__doc__.splitlines()[0])
    parser.add_argument("job", type=Path, help="job file, see Resources/schemas/job.schema.json")
    path = parser.parse_args(arguments).job
    emit = event_writer(take_stdout())
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def work() -> None:
        job = read_job(path)
        listen(sys.stdin, stop, job)
        run_generate(job, emit, stop.is_set)

    return guarded(work, emit)


def take_stdout() -> TextIO:
    """Keep standard output for events and send everything else that is written to it to standard error.

    Done on the level of file descriptors, so that libraries in C and C++ are redirected too.
    """
    sys.stdout.flush()
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return events


def event_writer(stream: TextIO) -> Emit:
    """A function that writes an event as one line of ASCII JSON, so that no code page can spoil a path."""
    lock = threading.Lock()

    def emit(event: Event) -> None:
        with lock:
            stream.write(json.dumps(event) + "\n")
            stream.flush()

    return emit


def listen(stream: TextIO | None, stop: threading.Event, job: Job) -> None:
    """Set ``stop`` when a line ``cancel`` comes in, or when the stream ends and the job says that this means stop."""
    if stream is None:
        return
    threading.Thread(target=_follow, args=(stream, stop.set, job.stop_with_stdin), daemon=True).start()


def _follow(stream: TextIO, stop: Callable[[], None], stop_at_end: bool) -> None:
    for line in stream:
        if line.strip().lower() == "cancel":
            stop()
            return
    if stop_at_end:
        stop()


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    # Not sys.exit: a thread that waits for standard input would hold its lock and abort the interpreter's shutdown.
    os._exit(status)
