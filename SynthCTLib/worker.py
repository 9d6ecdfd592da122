"""``python -m SynthCTLib.worker job.json``: one job in its own process, one JSON event per line on standard output.

``python -m SynthCTLib.worker --serve`` runs job after job, each named by a line ``run PATH`` on standard input, and
keeps the model loaded in between.

Written down in ``docs/worker-protocol.md``. Standard output carries events and nothing else: what libraries print goes
to standard error. SIGTERM, SIGINT, a line ``cancel`` on standard input or the job's ``cancel_file`` stop the run
between two steps; a process that is killed leaves at most a hidden working folder, which the next run removes.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import queue
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from SynthCTLib.errors import InputError
from SynthCTLib.events import Emit, Event
from SynthCTLib.job import Job, read_job
from SynthCTLib.kept import Kept
from SynthCTLib.runner import BROKEN_PIPE, guarded, run_generate
from SynthCTLib.watch import watch


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job of a job file, or serve; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m SynthCTLib.worker", description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("job", type=Path, nargs="?", help="job file, see Resources/schemas/job.schema.json")
    what.add_argument("--serve", action="store_true", help="run jobs named on standard input")
    options = parser.parse_args(arguments)
    emit = event_writer(take_stdout())
    if options.serve:
        return serve(sys.stdin, emit)
    path: Path = options.job
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def work() -> None:
        job = read_job(path)
        if job.cancel_file is None:  # else standard input may be the terminal of the parent and is left alone
            listen(sys.stdin, stop, job)
        watch(stop.set, job.cancel_file, job.parent_pid)
        run_generate(job, emit, stop.is_set)

    return guarded(work, emit)


LAST_EVENTS = ("result", "error", "cancelled")
"""With one of these a job ends."""


class Order:
    """One line for a serving worker, and whether it has been cancelled."""

    def __init__(self, line: str) -> None:
        self.line = line
        self.cancelled = False


class Orders:
    """Lines of standard input, in their order; ``cancel`` counts at once, for the oldest job that has not ended."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._open: deque[Order] = deque()
        self.ended = False

    def follow(self, stream: TextIO | None) -> None:
        """Sort lines until the stream ends, which cancels the running job and drops those that wait."""
        try:
            for line in stream or ():
                text = line.strip()
                if text.lower() != "cancel":
                    self._add(text)
                elif self._open:
                    self._open[0].cancelled = True
        finally:
            self.end()

    def _add(self, text: str) -> None:
        if text == "quit":
            self._waiting.put(None)
        elif text:
            order = Order(text)
            self._open.append(order)
            self._waiting.put(order)

    def end(self, *_: object) -> None:
        """Cancel, drop and quit; also a signal handler, so it takes no lock that the main thread may hold."""
        self.ended = True
        self._waiting.put(None)

    def __iter__(self) -> Iterator[Order]:
        """Orders as they come, until ``quit`` or the end."""
        while (order := self._waiting.get()) is not None and not self.ended:
            yield order

    def done(self, order: Order) -> None:
        """A ``cancel`` from now on is meant for the next one."""
        if order in self._open:
            self._open.remove(order)


def serve(stream: TextIO | None, emit: Emit) -> int:
    """Run the jobs that lines ``run PATH`` name, one after the other, until ``quit`` or the end of the stream.

    A line ``cancel`` stops a job, the end of the stream and a signal stop all. What fails ends its job, not the worker.
    """
    orders, kept = Orders(), Kept()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, orders.end)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    threading.Thread(target=orders.follow, args=(stream,), daemon=True).start()
    for order in orders:

        def tell(event: Event, order: Order = order) -> None:
            if event["event"] in LAST_EVENTS:
                orders.done(order)
            emit(event)

        def work(order: Order = order) -> None:
            command, _, path = order.line.partition(" ")
            if command != "run" or not path:
                raise InputError(f"The worker does not know the line '{order.line}'; send 'run PATH' or 'quit'.")
            run_generate(read_job(Path(path)), tell, lambda: order.cancelled or orders.ended, kept=kept)

        if guarded(work, tell) == BROKEN_PIPE:
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
