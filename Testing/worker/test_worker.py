"""The worker as other programs see it: a process, its lines of JSON, its exit code and what it leaves on the disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest
from jsonschema import Draft202012Validator

from SynthCTLib.output import remove_stale
from SynthCTLib.resources import resource_path

ROOT = Path(__file__).resolve().parents[2]
MANY_STEPS = 1000  # of a tiny model: some ten seconds, long enough to be interrupted
PATIENCE = 120.0

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def job_file(tiny_model: Path, phantom: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a job file for the phantom into a folder with a blank and returns its path."""

    def write(**changes: Any) -> Path:
        job = {"schema": 1, "mask": str(phantom), "out": str(tmp_path / "Ergebnis 1"), "model": str(tiny_model)}
        path = tmp_path / "job.json"
        path.write_text(json.dumps({**job, "labels": "maisi", "device": "cpu", "seed": 1, **changes}), encoding="utf-8")
        return path

    return write


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a worker; whatever still runs at the end of the test is killed."""
    running: list[subprocess.Popen[str]] = []

    def run(job: Path | str) -> subprocess.Popen[str]:
        running.append(worker_process(str(job)))
        return running[-1]

    yield run
    for process in running:
        with process:  # waits and closes its pipes
            process.kill()


def worker_process(job: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "SynthCTLib.worker", job]
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True, encoding="utf-8")


@pytest.fixture(scope="module")
def serving() -> Iterator[subprocess.Popen[str]]:
    """One worker that serves several tests, which costs one start; it ends when it is told to."""
    with worker_process("--serve") as worker:
        try:
            yield worker
            order(worker, "quit")
            assert worker.wait(20) == 0
        finally:
            worker.kill()


def wait_for_sampling(process: subprocess.Popen[str]) -> None:
    """Read events until the first sampling step is done."""
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "progress" and event["stage"] == "denoise" and event["step"] > 0:
            return
    pytest.fail(f"the worker ended before it sampled: {process.stderr and process.stderr.read()}")


def events_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_job_ends_with_its_result_and_every_line_follows_the_schema(
    start: Start, job_file: Callable[..., Path], tmp_path: Path
) -> None:
    process = start(job_file())
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    events = events_of(output)
    schema = json.loads(resource_path("schemas", "event.schema.json").read_text(encoding="utf-8"))
    for event in events:
        Draft202012Validator(schema).validate(event)
    assert events[0]["event"] == "started" and events[0]["pid"] == process.pid and events[0]["job"]["seed"] == 1
    assert events[-1]["event"] == "result"
    (result,) = events[-1]["results"]
    for key in ("ct", "mask", "report", "preview"):
        assert Path(result[key]).is_file()
    assert Path(result["ct"]).parent == tmp_path / "Ergebnis 1"
    stages = list(dict.fromkeys(event["stage"] for event in events if event["event"] == "progress"))
    assert stages == ["prepare", "load", "embed", "denoise", "decode", "write"]


def cancel_line(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("cancel\n")
    process.stdin.flush()


def terminate(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("cancel", [cancel_line, terminate])
def test_a_cancelled_job_says_so_and_leaves_nothing(
    start: Start, job_file: Callable[..., Path], tmp_path: Path, cancel: Callable[[Any], None]
) -> None:
    if cancel is terminate and os.name == "nt":
        pytest.skip("Windows ends a process at once")
    process = start(job_file(steps=MANY_STEPS))
    wait_for_sampling(process)
    cancel(process)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert events_of(output)[-1]["event"] == "cancelled"
    assert names(tmp_path) == {"job.json", "Fälle neu"}


def test_a_job_that_asks_for_it_stops_when_its_parent_is_gone(
    start: Start, job_file: Callable[..., Path], tmp_path: Path
) -> None:
    process = start(job_file(steps=MANY_STEPS, stop_with_stdin=True))
    wait_for_sampling(process)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()
    last = events_of(process.stdout.read())[-1]
    assert process.wait(PATIENCE) == 130 and last["event"] == "cancelled"
    assert names(tmp_path) == {"job.json", "Fälle neu"}


def test_a_killed_job_leaves_no_partial_output_and_the_next_run_cleans_up(
    start: Start, job_file: Callable[..., Path], tmp_path: Path
) -> None:
    process = start(job_file(steps=MANY_STEPS))
    wait_for_sampling(process)
    process.kill()
    process.communicate(timeout=PATIENCE)
    left = names(tmp_path) - {"job.json", "Fälle neu"}
    assert len(left) == 1 and left.pop().startswith(".synthct-")
    remove_stale(tmp_path)
    assert names(tmp_path) == {"job.json", "Fälle neu"}


@pytest.mark.parametrize("changes", [{"steps": 0}, {"mask": "none.nii"}])
def test_a_job_that_cannot_run_ends_with_an_error_event(
    start: Start, job_file: Callable[..., Path], tmp_path: Path, changes: dict[str, Any]
) -> None:
    process = start(job_file(**changes))
    output, _ = process.communicate(timeout=PATIENCE)
    error = events_of(output)[-1]
    assert (process.returncode, error["event"], error["kind"]) == (2, "error", "input")
    assert str(*changes.values()) in error["message"] and "Traceback" not in error["message"]
    assert names(tmp_path) == {"job.json", "Fälle neu"}


def served(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Events up to the one that ends a job."""
    assert process.stdout is not None
    events = []
    for line in process.stdout:
        events.append(json.loads(line))
        if events[-1]["event"] in ("result", "error", "cancelled"):
            return events
    pytest.fail(f"the worker ended: {process.stderr and process.stderr.read()}")


def order(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def test_a_serving_worker_runs_job_after_job(
    job_file: Callable[..., Path], serving: subprocess.Popen[str], tmp_path: Path
) -> None:
    for name in ("one", "two"):
        order(serving, f"run {job_file(out=str(tmp_path / name))}")
        events = served(serving)
        assert events[0]["event"] == "started" and events[-1]["event"] == "result"
    one, two = (nib.load(tmp_path / name / "ct.nii.gz").get_fdata() for name in ("one", "two"))
    assert (one == two).all()


def test_what_fails_in_a_serving_worker_ends_the_job_and_not_the_worker(
    job_file: Callable[..., Path], serving: subprocess.Popen[str], tmp_path: Path
) -> None:
    order(serving, f"run {tmp_path / 'no such job.json'}")
    assert served(serving)[-1]["event"] == "error"
    order(serving, "dance")
    assert "dance" in served(serving)[-1]["message"]
    order(serving, f"run {job_file(steps=1000)}")
    wait_for_sampling(serving)
    order(serving, "cancel")
    assert served(serving)[-1]["event"] == "cancelled"
    order(serving, f"run {job_file(steps=1000)}")
    order(serving, "cancel")  # at once, before the job has begun
    assert served(serving)[-1]["event"] == "cancelled"
    order(serving, f"run {job_file(steps=1)}")
    assert served(serving)[-1]["event"] == "result"


@pytest.mark.parametrize("end", ["close", "terminate"])
def test_a_serving_worker_ends_with_its_input_or_when_told_to(
    end: str, job_file: Callable[..., Path], start: Start, tmp_path: Path
) -> None:
    worker = start("--serve")
    order(worker, f"run {job_file(steps=1000)}")
    order(worker, f"run {tmp_path / 'waits.json'}")
    wait_for_sampling(worker)
    assert worker.stdin is not None
    worker.stdin.close() if end == "close" else worker.terminate()
    assert served(worker)[-1]["event"] == "cancelled"
    assert worker.wait(20) == 0
    assert worker.stdout is not None and worker.stdout.read() == ""
    assert names(tmp_path) == {"Fälle neu", "job.json"}


def test_what_libraries_print_never_reaches_the_events() -> None:
    code = (
        "import os, sys\n"
        "from SynthCTLib.worker import event_writer, take_stdout\n"
        "emit = event_writer(take_stdout())\n"
        "print('from Python'); os.write(1, b'from C\\n'); os.system('echo from a child')\n"
        "emit({'event': 'result', 'path': 'Fälle'})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=PATIENCE, check=True)
    assert done.stdout == b'{"event": "result", "path": "F\\u00e4lle"}\n'
    for text in (b"from Python", b"from C", b"from a child"):
        assert text in done.stderr


def test_a_worker_does_not_load_pytorch_before_its_first_event() -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from SynthCTLib.job import Job\n"
        "from SynthCTLib.worker import run_generate\n"
        "run_generate(Job(Path('m'), Path('o')), lambda event: sys.exit('torch' in sys.modules))\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=PATIENCE, check=True)
