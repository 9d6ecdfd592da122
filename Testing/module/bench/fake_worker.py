"""Processes of the engine that replay what a real one has said (``../recorded``), a line at a time, when a test wants.

A run writes its result files as the engine does: the mask it was given on the recorded grid, and a CT in which each
structure has its typical density. A run without a mask, and what is done with models where the test has a folder of
them, is the engine's own work, done at once in this process.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from SynthCTLib.cli import main
from SynthCTLib.job import read_job
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.reading import read_segmentation
from SynthCTLib.runner import guarded, run_generate

RESOURCES = Path(__file__).resolve().parents[3] / "Resources"
RECORDED = Path(__file__).resolve().parents[1] / "recorded"


class FakeProcess:
    """Stands in for SlicerWorkerProcess; ``family`` decides how the next run ends."""

    def __init__(self, family: FakeFamily) -> None:
        self._family = family
        self._lines: list[str] = []
        self._code = 0
        self._running = False
        self._onLine: Callable[[str], None] = print
        self._onEnd: Callable[[int], None] = print
        self.arguments: list[str] = []

    def start(
        self,
        arguments: Sequence[str],
        onLine: Callable[[str], None],
        onEnd: Callable[[int], None],
        cancelFile: Path | None = None,
    ) -> None:
        """Prepare the lines; :meth:`step` delivers them."""
        if self._running:
            raise RuntimeError("A process is running already.")
        self.arguments = list(arguments)
        self._onLine, self._onEnd, self._running = onLine, onEnd, True
        self._lines, self._code = self._family.script(self.arguments)

    def step(self, count: int = 1) -> None:
        """Deliver the next lines; after the last one the process ends."""
        for _number in range(count):
            if not self._running:
                return
            if self._lines:
                self._onLine(self._lines.pop(0))
            else:
                self._running = False
                self._onEnd(self._code)

    def finish(self) -> None:
        """Deliver everything."""
        while self._running:
            self.step()

    def cancel(self) -> None:
        """The rest is not said; the process says that it was cancelled."""
        self._lines, self._code = ['{"schema": 1, "event": "cancelled", "message": "Cancelled."}'], 130

    def kill(self) -> None:
        """The process is gone; that is told with the next step."""
        self._lines, self._code = [], -9

    def isRunning(self) -> bool:
        """Whether its end has not been told."""
        return self._running

    def pump(self) -> None:
        """As Slicer's event loop: a line comes."""
        self.step()


class FakeFamily:
    """Makes the processes of a workbench and remembers them, in the order in which they were made.

    ``ending`` of the next runs: "result", "error" (of the engine), or "crash" (no word). ``organs``: by name of a
    structure, what the next reports say of it otherwise than the recorded one.
    """

    def __init__(self) -> None:
        self.processes: list[FakeProcess] = []
        self.ending = "result"
        self.organs: dict[str, dict[str, Any]] = {}
        self.jobs: list[dict[str, Any]] = []

    def __call__(self) -> FakeProcess:
        self.processes.append(FakeProcess(self))
        return self.processes[-1]

    def running(self) -> list[FakeProcess]:
        """Those that have not ended."""
        return [process for process in self.processes if process.isRunning()]

    def finish(self) -> None:
        """Let all of them say everything and end."""
        for process in self.running():
            process.finish()

    def script(self, arguments: Sequence[str]) -> tuple[list[str], int]:
        """What a process started with these arguments says, and its exit code."""
        if "SynthCTLib.worker" in arguments:
            return self._run(Path(arguments[-1]))
        if "models" in arguments and "SYNTHCT_MODELS" in os.environ:
            return _command(arguments)
        if "prepare" in arguments:
            out = Path(arguments[arguments.index("--out") + 1])
            _write_mask(Path(arguments[arguments.index("prepare") + 1]), out)
            return ['{"schema": 1, "event": "result", "results": []}'], 0
        name = "doctor" if "doctor" in arguments else "models"
        text = (RECORDED / f"{name}.jsonl").read_text(encoding="utf-8")
        return text.replace('"models/', f'"{RESOURCES.as_posix()}/models/').splitlines(), 0

    def _run(self, job_path: Path) -> tuple[list[str], int]:
        job = json.loads(job_path.read_text(encoding="utf-8"))
        self.jobs.append(job)
        if "mask" not in job and self.ending == "result":
            return _sampled(job_path)
        lines = (RECORDED / "run.jsonl").read_text(encoding="utf-8").replace("{out}", job["out"]).splitlines()
        seed = f'"seed": {job.get("seed", 7)}'
        lines = [line.replace('"seed": 7', seed) for line in lines]
        if self.ending == "crash":
            return [*lines[:12], "Segmentation fault"], 139
        if self.ending == "error":
            error = {"event": "error", "kind": "resource", "message": "Memory does not suffice.", "advice": ""}
            return [*lines[:12], json.dumps({"schema": 1, **error})], 4
        out = Path(job["out"])
        mask = _write_mask(Path(job["mask"]), out)
        _write_ct(mask, out / "ct.nii.gz")
        report = json.loads((RECORDED / "report.json").read_text(encoding="utf-8").replace('"seed": 7', seed))
        report["organs"] = [organ | self.organs.get(organ["name"], {}) for organ in report["organs"]]
        (out / "report.json").write_text(json.dumps(report), encoding="utf-8")
        return lines, 0


def _sampled(job_path: Path) -> tuple[list[str], int]:
    """What the engine says while it does a job, and its exit code."""
    lines: list[str] = []

    def emit(event: dict[str, Any]) -> None:
        lines.append(json.dumps(event))

    return lines, guarded(lambda: run_generate(read_job(job_path), emit), emit)


def _command(arguments: Sequence[str]) -> tuple[list[str], int]:
    """What a command of the engine prints, and its exit code."""
    own = list(arguments[arguments.index("models") :])
    with contextlib.redirect_stdout(io.StringIO()) as output:
        code = main(own[: own.index("--parent-pid")])
    return output.getvalue().splitlines(), code


def _write_mask(source: Path, out: Path) -> nib.Nifti1Image:
    """The mask on the recorded grid, with a body around everything."""
    grid = json.loads((RECORDED / "report.json").read_text(encoding="utf-8"))["grid"]
    volume = read_segmentation(source, "maisi").volume
    affine = np.array(grid["affine"])
    index = np.stack(np.meshgrid(*map(np.arange, grid["shape"]), indexing="ij"), -1) @ affine[:3, :3].T + affine[:3, 3]
    inverse = np.linalg.inv(volume.affine)
    nearest = np.rint(index @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
    inside = ((nearest >= 0) & (nearest < volume.shape)).all(-1)
    x, y, z = np.where(inside[..., None], nearest, 0).transpose(3, 0, 1, 2)
    labels = np.where(inside, volume.array[x, y, z], 0).astype(np.uint8)
    labels[(labels == 0) & inside] = 200
    out.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(labels, affine)
    nib.save(image, out / "mask.nii.gz")
    return image


def _write_ct(mask: nib.Nifti1Image, path: Path) -> None:
    typical = np.full(256, -1000, np.int16)
    for label in load_vocabulary().labels:
        typical[label.id] = label.hu_typical or 0
    nib.save(nib.Nifti1Image(typical[np.asarray(mask.dataobj)], mask.affine), path)
