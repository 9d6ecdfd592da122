"""``python -m SynthCTLib.worker job.json``: one job in its own process, one JSON event per line on standard output.

``python -m SynthCTLib.worker --serve`` runs job after job, each named by a line ``run PATH`` on standard input, and
keeps the model loaded in between.

Written down in ``docs/worker-protocol.md``. Standard output carries events and nothing else: what libraries print goes
to standard error. SIGTERM, SIGINT or a line ``cancel`` on standard input stop the run between two steps; a process that
is killed leaves at most a hidden working folder, which the next run removes.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from SynthCTLib.errors import InputError
from SynthCTLib.events import Emit, Event
from SynthCTLib.job import Job, read_job
from SynthCTLib.kept import Kept
from SynthCTLib.runner import BROKEN_PIPE, guarded, run_generate


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job of a job file, or serve; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m SynthCTLib.worker", description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("job", type=Path, nargs="?", help="job file, see Resources/schemas/job.schema.json")
    what.add_argument("--serve", action="store_true", help="run jobs named on standard input")
    options = parser.parse_args(arguments)
    path: Path = options.job
    emit = event_writer(take_stdout())
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if options.serve:
        return serve(sys.stdin, emit, stop)

    def work() -> None:
        job = read_job(path)
        listen(sys.stdin, stop, job)
        run_generate(job, emit, stop.is_set)

    return guarded(work, emit)


class Orders:
    """Lines of standard input, in two kinds: what has to wait its turn, and what counts at once."""

    def __init__(self, stop: threading.Event) -> None:
        self._waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._stop = stop
        self._ended = False

    def follow(self, stream: TextIO) -> None:
        """Sort lines until the stream ends, which cancels the running job and drops those that wait."""
        for line in stream:
            text = line.strip()
            if text == "cancel":
                self._stop.set()
            elif text:
                self._waiting.put(text)
        self.end()

    def end(self, *_: object) -> None:
        """Cancel, drop and quit; also a signal handler."""
        self._ended = True
        self._stop.set()
        self._waiting.put("quit")

    def next(self) -> str:
        """Wait for the next line; ``quit`` after the end."""
        line = self._waiting.get()
        self._stop.clear()
        return "quit" if self._ended else line


def serve(stream: TextIO, emit: Emit, stop: threading.Event) -> int:
    """Run the jobs that lines ``run PATH`` name, one after the other, until ``quit`` or the end of the stream.

    A line ``cancel`` stops the job that is running, the end of the stream too. What fails ends its job, not the worker.
    """
    orders, kept = Orders(stop), Kept()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, orders.end)
    threading.Thread(target=orders.follow, args=(stream,), daemon=True).start()
    while (line := orders.next()) != "quit":
        command, _, path = line.partition(" ")

        def work(command: str = command, path: str = path) -> None:
            if command != "run" or not path:
                raise InputError(f"The worker does not know the line '{command} {path}'; send 'run PATH' or 'quit'.")
            run_generate(read_job(Path(path)), emit, stop.is_set, kept=kept)

        if guarded(work, emit) == BROKEN_PIPE:
            return BROKEN_PIPE
    return 0


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
