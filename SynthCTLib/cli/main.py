"""Parses the command line, runs the subcommand, and turns every outcome into text or JSON and an exit code."""

from __future__ import annotations

import _thread
import argparse
import contextlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from SynthCTLib import __version__
from SynthCTLib.cli import doctor, generate, lookup, models
from SynthCTLib.output import DISCLAIMER
from SynthCTLib.runner import BROKEN_PIPE, guarded
from SynthCTLib.terminal import choose_view


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``synthct``; returns the exit code: 0 done, those of ``errors.py``, 70 for a fault of the program."""
    options = build_parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a pipe on Windows may have a code page without "ö" or "×"
            stream.reconfigure(errors="backslashreplace")
    with contextlib.suppress(ValueError):  # only the main thread may, and only there it is needed
        signal.signal(signal.SIGTERM, _interrupt)
    view = choose_view(options.json)

    def work() -> None:
        if options.parent_pid is not None:
            stop_with_parent(options.parent_pid)
        options.run(options, view.emit)

    try:
        status = guarded(work, view.emit, options.debug)
    finally:
        view.close()
    if status == BROKEN_PIPE:
        # The reader (head, less) has gone; without this, Python would complain again while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def build_parser() -> argparse.ArgumentParser:
    """The parser with all subcommands; each sets ``run`` to the function that does it."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="one JSON event per line on standard output")
    common.add_argument("--parent-pid", type=int, metavar="PID", help="stop when this process has ended")
    common.add_argument("--debug", action="store_true", help="show the traceback of unexpected failures")
    parser = argparse.ArgumentParser(
        prog="synthct", description="A segmentation becomes a CT.", epilog=f"{DISCLAIMER}."
    )
    parser.add_argument("--version", action="version", version=f"synthct {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (generate, lookup, models, doctor):
        module.add_commands(commands, common)
    return parser


def stop_with_parent(pid: int) -> None:
    """Interrupt the command as SIGTERM does once the process ``pid`` has ended: nobody waits for it any more."""
    from SynthCTLib.watch import watch  # here, since only commands that another program starts need it

    watch(lambda: _thread.interrupt_main(signal.SIGTERM), None, pid)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
