"""A run as Slicer makes it: the real worker as the child of a launcher, and every way in which it can end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np
import psutil
import pytest

from SynthCTModule.Parameters import RunParameters
from SynthCTModule.Run import Run, RunOutcome
from SynthCTModule.RunState import RunState
from SynthCTModule.WorkerProcess import PopenWorkerProcess

PATIENCE = 120.0
LONG = 1000  # steps of the tiny model: some ten seconds


class Recorder:
    """What a panel would see of a run, and what an importer would be given."""

    def __init__(self, run: Run) -> None:
        self.states: list[RunState] = []
        self.fractions: list[float] = []
        self.lines: list[str] = []
        self.findings: list[dict[str, Any]] = []
        self.outcomes: list[RunOutcome] = []
        run.stateChanged.connect(self.states.append)
        run.progressChanged.connect(lambda progress: self.fractions.append(progress.fraction))
        run.logChanged.connect(self.lines.append)
        run.findingCame.connect(self.findings.append)
        run.finished.connect(self.outcomes.append)


class Bench:
    """A run with its folder for temporary files, its model, and files that lay there before."""

    def __init__(self, process: PopenWorkerProcess, folder: Path, model: Path, mask: Path) -> None:
        self.process, self.folder, self.model, self.mask = process, folder, model, mask
        self.imported: list[list[dict[str, Any]]] = []
        self.reports: list[dict[str, Any]] = []
        self.run = Run(process, self.importResults, folder, self.reports.append)
        self.seen = Recorder(self.run)

    def importResults(self, results: list[dict[str, Any]]) -> Generator[None, None, str]:
        yield
        assert all(Path(result[key]).is_file() for result in results for key in ("ct", "mask", "report"))
        self.imported.append(results)
        return "nodes"

    def start(self, writeMask: Callable[[Path], Any] | None = None, **settings: Any) -> bool:
        parameters = RunParameters(**{"device": "cpu", "steps": 2, "model": self.model.parent.name, **settings})
        return self.run.start(parameters, writeMask or self.writeMask)

    def writeMask(self, path: Path) -> str:
        """The phantom as NRRD, which Slicer writes."""
        image = nib.load(self.mask)
        space = {"space": "right-anterior-superior", "space directions": image.affine[:3, :3].T}
        nrrd.write(str(path), np.asarray(image.dataobj), {**space, "space origin": image.affine[:3, 3]})
        return "maisi"

    def pumpUntil(self, condition: Callable[[], bool], seconds: float = PATIENCE) -> float:
        """Deliver lines until the condition holds; returns the seconds it took."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < seconds, self.run.logText()
            self.process.pump()
        return time.monotonic() - began

    def untilSampling(self) -> list[psutil.Process]:
        """Run until the worker samples; launcher and worker as processes."""
        self.pumpUntil(lambda: any("Sampling" in line for line in self.seen.lines))
        family = ourFamily(self.process)
        assert len(family) >= 2, "launcher and worker"
        return family

    def ended(self) -> RunOutcome:
        """Run to the end."""
        assert self.run.wait(PATIENCE), self.run.logText()
        (outcome,) = self.seen.outcomes
        return outcome


def ourFamily(process: PopenWorkerProcess) -> list[psutil.Process]:
    launchers = [child for child in psutil.Process().children() if "launcher.py" in " ".join(child.cmdline())]
    return [member for launcher in launchers for member in (launcher, *launcher.children(recursive=True))]


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def bench(
    process: PopenWorkerProcess, tmp_path: Path, tiny_model: Path, phantom: Path, monkeypatch: pytest.MonkeyPatch
) -> Bench:
    """The tiny model as a user's own in the models folder; temporary files in a folder with blanks and umlauts."""
    models = tmp_path / "models"
    shutil.copytree(tiny_model.parent, models / "tiny")
    card = json.loads((models / "tiny" / "card.json").read_text())
    (models / "tiny" / "card.json").write_text(json.dumps({**card, "id": "tiny"}))
    monkeypatch.setenv("SYNTHCT_MODELS", str(models))
    folder = tmp_path / "vorläufige Dateien 临时"
    folder.mkdir()
    made = Bench(process, folder, models / "tiny" / "card.json", phantom)
    start = made.start
    made.start = lambda writeMask=None, **settings: start(writeMask, **{"modelsFolder": models, **settings})  # type: ignore[method-assign]
    return made


def test_a_run_goes_through_its_states_and_gives_its_results_to_the_importer(bench: Bench) -> None:
    assert bench.start(seed=7)
    outcome = bench.ended()
    assert outcome.state is RunState.DONE, outcome.text()
    assert bench.seen.states == [RunState.CHECKING, RunState.RUNNING, RunState.IMPORTING, RunState.DONE]
    assert outcome.imported == "nodes" and outcome.job["seed"] == 7 and outcome.results == tuple(bench.imported[0])
    assert bench.seen.fractions == sorted(bench.seen.fractions) and bench.seen.fractions[-1] == pytest.approx(1.0)
    assert bench.reports[0]["timings"]["total"] > 0
    assert not list(bench.folder.iterdir())


def fakeEngine(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str) -> None:
    """An engine in place of the real one, for ends that cannot be brought about otherwise, or need no real CT."""
    package = folder / "engine" / "SynthCTLib"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "worker.py").write_text(f"import json, os, sys, time\n{code}\n", encoding="utf-8")
    monkeypatch.setattr("SynthCTModule.WorkerProcess.engineRoot", lambda: package.parent)


RESULT = """
out = json.load(open(sys.argv[1], encoding="utf-8"))["out"]
os.makedirs(out)
files = {name: os.path.join(out, name) for name in ("ct", "mask", "report")}
for path in files.values():
    with open(path, "w") as file:
        file.write("{}")
print(json.dumps({"schema": 1, "event": "result", "results": [files]}))
"""
"""An engine that is done at once."""


def test_a_second_run_follows_the_first(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakeEngine(monkeypatch, tmp_path, RESULT)
    for _ in range(2):
        bench.start()
        assert bench.run.wait(PATIENCE)
    assert [outcome.state for outcome in bench.seen.outcomes] == [RunState.DONE, RunState.DONE]


def test_nothing_starts_while_a_run_is_going_on(bench: Bench) -> None:
    bench.start(steps=LONG)
    with pytest.raises(RuntimeError, match="running"):
        bench.start()
    bench.run.close()


def test_cancel_ends_launcher_and_worker_within_two_seconds_and_leaves_no_file(bench: Bench) -> None:
    bench.start(steps=LONG)
    family = bench.untilSampling()
    bench.run.cancel()
    assert bench.pumpUntil(lambda: not alive(family)) < 2.0
    assert bench.ended().state is RunState.CANCELLED
    assert not list(bench.folder.iterdir())


def test_a_worker_that_does_not_listen_is_killed_within_two_seconds(bench: Bench) -> None:
    bench.start(steps=LONG)
    family = bench.untilSampling()
    worker = family[-1]
    worker.suspend()
    bench.run.cancel()
    assert bench.pumpUntil(lambda: not alive(family)) < 2.0
    assert bench.ended().state is RunState.CANCELLED
    assert not list(bench.folder.iterdir())


def test_cancel_before_the_worker_has_said_anything_counts(bench: Bench) -> None:
    bench.start(steps=LONG)
    bench.run.cancel()
    assert bench.pumpUntil(lambda: not bench.run.busy) < 2.0
    assert bench.ended().state is RunState.CANCELLED
    assert not alive(ourFamily(bench.process)) and not list(bench.folder.iterdir())


def test_closing_during_a_run_leaves_no_process_and_no_file_and_says_nothing_more(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.start(steps=LONG)
    family = bench.untilSampling()
    bench.run.close()
    assert not alive(family) and not list(bench.folder.iterdir())
    bench.pumpUntil(lambda: not bench.process.isRunning())
    assert bench.run.state is RunState.IDLE and not bench.seen.outcomes
    fakeEngine(monkeypatch, tmp_path, RESULT)
    assert bench.start() and bench.ended().state is RunState.DONE


def test_a_killed_worker_becomes_a_sentence_with_advice(bench: Bench) -> None:
    bench.start(steps=LONG)
    bench.untilSampling()[-1].kill()
    outcome = bench.ended()
    assert outcome.state is RunState.FAILED and outcome.failure is not None
    assert "ended unexpectedly" in outcome.text() and "smaller size" in outcome.text()
    assert not list(bench.folder.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="Windows ends the child with a job object of the launcher or not at all")
def test_a_worker_whose_launcher_was_killed_can_still_be_cancelled(bench: Bench) -> None:
    bench.start(steps=LONG)
    launcher, worker = bench.untilSampling()[:2]
    launcher.kill()
    bench.run.cancel()
    assert bench.pumpUntil(lambda: not alive([worker])) < 2.0
    assert bench.ended().state is RunState.CANCELLED


def test_running_out_of_memory_says_what_to_do(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = {"schema": 1, "event": "error", "kind": "resource", "message": "Memory does not suffice.", "advice": ""}
    fakeEngine(monkeypatch, tmp_path, f"print(json.dumps({error})); sys.exit(4)")
    bench.start()
    outcome = bench.ended()
    assert outcome.failure is not None and outcome.failure.kind == "resource"
    assert outcome.text().startswith("Memory does not suffice.") and "smaller size" in outcome.text()


@pytest.mark.parametrize("code", ["sys.exit(137)", "os.abort()", "raise ValueError('Größe 5×5 → ∞')"])
def test_a_worker_that_dies_without_a_word_is_told_with_its_last_lines_in_the_log(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    fakeEngine(monkeypatch, tmp_path, f"print('last words', flush=True)\n{code}")
    bench.start()
    outcome = bench.ended()
    assert outcome.state is RunState.FAILED and "ended unexpectedly" in outcome.text()
    assert "last words" in bench.run.logText()
    assert "ValueError" not in outcome.text()


def test_a_missing_package_is_named(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakeEngine(monkeypatch, tmp_path, "import nibabbel")
    bench.start()
    text = bench.ended().text()
    assert "nibabbel" in text and "setup" in text


def test_events_are_found_behind_the_unfinished_lines_of_libraries(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "sys.stderr.write('50%|####'); sys.stderr.flush(); print(json.dumps({'schema': 1, 'event': 'cancelled'}))"
    fakeEngine(monkeypatch, tmp_path, code)
    bench.start()
    assert bench.ended().state is RunState.CANCELLED


def test_settings_that_cannot_be_used_fail_before_anything_is_started(bench: Bench) -> None:
    assert not bench.start(size=(17, 16, 16))
    assert bench.seen.states == [RunState.CHECKING, RunState.FAILED]
    assert "17" in bench.ended().text() and not list(bench.folder.iterdir())


def test_a_job_that_the_worker_refuses_fails_with_its_sentence(bench: Bench) -> None:
    bench.start(lambda path: path.write_bytes(b"no image") and "maisi")
    outcome = bench.ended()
    assert outcome.failure is not None and outcome.failure.kind == "input"
    assert "mask.nrrd" in outcome.text() and not list(bench.folder.iterdir())


def test_bad_weights_fail_with_a_sentence_about_the_model(bench: Bench) -> None:
    (bench.model.parent / "unet.safetensors").write_bytes(b"damaged")
    bench.start()
    outcome = bench.ended()
    assert outcome.failure is not None and outcome.failure.kind == "model"
    assert "unet.safetensors" in outcome.text() and "Traceback" not in outcome.text()


def test_a_mask_that_cannot_be_exported_ends_the_run_with_its_own_sentence(bench: Bench) -> None:
    def writeMask(path: Path) -> str:
        raise ValueError("The segment 'Unknown thing' has no label; choose one.")

    assert not bench.start(writeMask)
    assert bench.ended().text() == "The segment 'Unknown thing' has no label; choose one."
    assert not list(bench.folder.iterdir())


def test_a_result_that_cannot_be_imported_is_a_failure_and_leaves_no_file(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(results: list[dict[str, Any]]) -> Generator[None, None, None]:
        yield
        raise RuntimeError("no scene")

    fakeEngine(monkeypatch, tmp_path, RESULT)
    bench.run._importResults = fail
    bench.start()
    outcome = bench.ended()
    assert outcome.state is RunState.FAILED and "no scene" in outcome.text()
    assert not list(bench.folder.iterdir())


class LaterSteps:
    """A runner whose steps are taken when a test wants."""

    def __init__(self) -> None:
        self.work: Generator[None, None, Any] | None = None

    def start(self, work: Generator[None, None, Any], onDone: Callable[[Exception | None], None]) -> None:
        self.work, self.onDone = work, onDone

    def step(self) -> None:
        """Not yet."""

    def stop(self) -> None:
        work, self.work = self.work, None
        if work is not None:
            work.close()


@pytest.mark.parametrize("end", ["cancel", "close"])
def test_an_import_that_is_given_up_takes_its_nodes_back_and_leaves_no_file(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    nodes: list[str] = []

    def importResults(results: list[dict[str, Any]]) -> Generator[None, None, list[str]]:
        nodes.append("CT")
        try:
            yield
        finally:
            nodes.clear()
        return nodes

    fakeEngine(monkeypatch, tmp_path, RESULT)
    steps = LaterSteps()
    bench.run._importResults, bench.run._steps = importResults, steps
    bench.start()
    bench.pumpUntil(lambda: bench.run.state is RunState.IMPORTING)
    assert steps.work is not None
    next(steps.work)
    assert nodes == ["CT"] and list(bench.folder.iterdir())
    getattr(bench.run, end)()
    assert nodes == [] and not list(bench.folder.iterdir())
    ended = [outcome.state for outcome in bench.seen.outcomes]
    assert ended == ([RunState.CANCELLED] if end == "cancel" else []) and not bench.run.busy


def test_a_slot_that_raises_does_not_stop_the_run(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slot(value: object) -> None:
        raise RuntimeError("a mistake in a panel")

    fakeEngine(monkeypatch, tmp_path, f"print('a line of the log')\n{RESULT}")
    bench.run.logChanged.connect(slot)
    bench.start()
    assert bench.ended().state is RunState.DONE


def test_the_end_of_slicer_ends_the_worker_too_and_the_next_run_removes_its_files(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process in the place of Slicer starts a run and is killed."""
    ready = tmp_path / "ready.nrrd"
    bench.writeMask(ready)
    script = tmp_path / "slicer.py"
    script.write_text(
        "import sys, shutil\nfrom pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[2] / 'SynthCT')!r})\n"
        "from SynthCTModule.Parameters import RunParameters\nfrom SynthCTModule.Run import Run\n"
        "from SynthCTModule.WorkerProcess import PopenWorkerProcess\n"
        f"launcher = [sys.executable, {str(Path(__file__).with_name('launcher.py'))!r}]\n"
        f"run = Run(PopenWorkerProcess(launcher), list, Path({str(bench.folder)!r}))\n"
        "run.logChanged.connect(lambda text: print(text, flush=True))\n"
        f"parameters = RunParameters('tiny', steps={LONG}, modelsFolder=Path({str(bench.model.parents[1])!r}))\n"
        f"run.start(parameters, lambda path: shutil.copy({str(ready)!r}, path) and 'maisi')\nrun.wait()\n",
        encoding="utf-8",
    )
    slicer = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, encoding="utf-8")
    with slicer:
        assert slicer.stdout is not None
        assert any("Sampling" in line for line in slicer.stdout)
        family = psutil.Process(slicer.pid).children(recursive=True)
        slicer.kill()
    bench.pumpUntil(lambda: not alive(family), 10)
    assert list(bench.folder.iterdir()), "Slicer could not tidy up"
    fakeEngine(monkeypatch, tmp_path, RESULT)
    assert bench.start() and bench.ended().state is RunState.DONE
    assert not list(bench.folder.iterdir())
