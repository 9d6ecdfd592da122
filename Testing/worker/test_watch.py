"""A worker without a pipe to its parent: told to stop by a file, and stopped when its parent is gone."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import psutil
import pytest

from SynthCTLib import watch as watching
from SynthCTLib.cli import main
from SynthCTLib.watch import Parent, watch

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tiny_model: Path, phantom: Path, tmp_path: Path) -> Any:
    """Starts a worker for a job of the phantom that takes long; it is killed at the end of the test."""
    running: list[subprocess.Popen[str]] = []

    def run(stdin: int = subprocess.DEVNULL, **changes: Any) -> subprocess.Popen[str]:
        job = {"schema": 1, "mask": str(phantom), "out": str(tmp_path / "out"), "model": str(tiny_model)}
        path = tmp_path / "job.json"
        path.write_text(json.dumps(job | {"labels": "maisi", "device": "cpu", "steps": 1000} | changes))
        process = subprocess.Popen(
            [sys.executable, "-m", "SynthCTLib.worker", str(path)],
            cwd=ROOT, stdin=stdin, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.communicate()


def wait_for_stage(process: subprocess.Popen[str], stage: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line).get("stage") == stage:
            return
    pytest.fail("the worker ended too early")


def last_event(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=PATIENCE)
    return str(json.loads(output.splitlines()[-1])["event"])


def test_the_appearance_of_its_cancel_file_cancels_a_job(start: Start, tmp_path: Path) -> None:
    process = start(cancel_file="cancel")  # relative to the job file
    wait_for_stage(process, "denoise")
    (tmp_path / "cancel").touch()
    assert last_event(process) == "cancelled"
    assert process.returncode == 130
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".synthct", "out"))]


def test_with_a_cancel_file_nothing_is_read_from_standard_input(start: Start, tmp_path: Path) -> None:
    process = start(stdin=subprocess.PIPE, cancel_file="cancel", stop_with_stdin=True, steps=2)
    assert process.stdin is not None
    process.stdin.write("cancel\n")
    process.stdin.close()
    process.stdin = None  # communicate() would write to it
    assert last_event(process) == "result"


def test_a_job_is_cancelled_when_its_parent_has_ended(start: Start, tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    process = start(parent_pid=parent.pid)
    wait_for_stage(process, "denoise")
    parent.kill()  # not yet reaped: a zombie counts as ended
    assert last_event(process) == "cancelled"
    parent.wait()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".synthct", "out"))]


def test_a_parent_is_known_by_its_start_and_not_by_its_number_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = Parent(os.getpid())
    assert not parent.is_gone()
    monkeypatch.setattr(psutil.Process, "is_running", lambda self: False)  # what psutil says of a reused number
    assert parent.is_gone()


@pytest.fixture
def hard_ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleQueue[int]]:
    """Exit codes of hard ends, which come at once and end only the thread that watches.

    That thread has ended before os._exit is the real one again, which would end the tests.
    """
    codes: SimpleQueue[int] = SimpleQueue()
    over = threading.Event()
    before = set(threading.enumerate())

    def end(code: int) -> None:
        codes.put(code)
        over.wait()
        raise SystemExit

    look = watching._look

    def quiet_look(*arguments: Any) -> None:
        with contextlib.suppress(SystemExit):  # pytest warns of one that ends a thread
            look(*arguments)

    monkeypatch.setattr(watching, "_look", quiet_look)
    monkeypatch.setattr(watching, "LAST_SECONDS", 0.0)
    monkeypatch.setattr(watching.os, "_exit", end)
    yield codes
    over.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)


def test_a_run_that_does_not_stop_after_its_parent_is_ended_hard(hard_ends: SimpleQueue[int]) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    stopped = threading.Event()
    watch(stopped.set, None, child.pid)
    assert hard_ends.get(timeout=PATIENCE) == 130 and stopped.is_set()


@pytest.mark.usefixtures("hard_ends")
def test_a_command_stops_when_its_parent_has_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(options: object, emit: object) -> None:
        for _ in range(int(PATIENCE / 0.05)):
            time.sleep(0.05)

    monkeypatch.setattr("SynthCTLib.cli.doctor.run_doctor", work)
    before = signal.getsignal(signal.SIGTERM)
    parent = subprocess.Popen([sys.executable, "-c", ""])
    parent.wait()
    try:
        assert main(["doctor", "--json", "--parent-pid", str(parent.pid)]) == 130
    finally:
        signal.signal(signal.SIGTERM, before)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["event"] == "cancelled"
