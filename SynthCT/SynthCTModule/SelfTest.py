"""What the module's self-test needs: the real engine where PyTorch is, else a stand-in that paints a CT at once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from SynthCTModule.LabelArray import labelArray
from SynthCTModule.LabelColors import vocabulary
from SynthCTModule.SegmentationExchange import readLabelmap, writeLabelmap
from SynthCTModule.VoxelGrid import Grid, valueCounts, volumeGrid
from SynthCTModule.WorkerProcess import OnEnd, OnLine, SlicerWorkerProcess, WorkerProcess

_ENGINE = ("torch", "monai", "nibabel", "safetensors", "nrrd", "jsonschema")


def selfTestProcess() -> Callable[[], WorkerProcess]:
    """Makes processes of the real engine if all its packages are there, else painters."""
    return SlicerWorkerProcess if all(find_spec(name) for name in _ENGINE) else PaintingProcess


class PaintingProcess:
    """Takes the place of the engine's process: each structure gets its typical density, on the grid of the mask."""

    def __init__(self) -> None:
        self._running = False
        self._cancelled = False

    def start(self, arguments: Sequence[str], onLine: OnLine, onEnd: OnEnd, cancelFile: Path | None = None) -> None:
        """Remember the job; :meth:`pump` does it."""
        self._job = json.loads(Path(arguments[-1]).read_text(encoding="utf-8"))
        self._onLine, self._onEnd, self._running, self._cancelled = onLine, onEnd, True, False

    def cancel(self) -> None:
        """Paint nothing."""
        self._cancelled = True

    def kill(self) -> None:
        """There is no process."""
        self._running = False

    def isRunning(self) -> bool:
        """Whether the job is still to be done."""
        return self._running

    def pump(self) -> None:
        """Do the job and tell of its end."""
        if not self._running:
            return
        self._running = False
        event = {"event": "cancelled", "message": ""} if self._cancelled else self._paint()
        self._onLine(json.dumps({"schema": 1, **event}))
        self._onEnd(0)

    def _paint(self) -> dict[str, Any]:
        out, seed = Path(self._job["out"]), self._job.get("seed", 0)
        out.mkdir(parents=True)
        labels, affine = readLabelmap(self._job["mask"])
        labels[labels == 0] = 200
        typical = np.full(256, -1000, np.int16)
        for label in vocabulary().labels:
            typical[label.id] = label.hu_typical or 0
        image = typical[labels]
        image[:, :, [0, -1]] = -1000
        writeLabelmap(labels, affine, out / "mask.nrrd")
        writeLabelmap(image, affine, out / "ct.nrrd")
        report = {"seed": seed, "disclaimer": "Synthetic", "region": ["chest"], "organs": [], "passed": True}
        report |= {"model": {"id": self._job["model"]}}
        (out / "report.json").write_text(json.dumps(report), encoding="utf-8")
        files = {name: str(out / file) for name, file in _FILES.items()}
        return {"event": "result", "results": [{**files, "seed": seed, "summary": []}]}


_FILES = {"ct": "ct.nrrd", "mask": "mask.nrrd", "report": "report.json"}


def secondsToEnd(process: WorkerProcess, patience: float = 30.0) -> float:
    """Start a Python that sleeps, kill it with its launcher, and return the seconds until the end was told.

    Raises RuntimeError when Python does not start, or does not end, within ``patience`` seconds.
    """
    lines: list[str] = []
    codes: list[int] = []
    process.start(["-c", "import time; print('started', flush=True); time.sleep(300)"], lines.append, codes.append)
    _waitFor(process, lambda: "started" in lines, patience)
    began = time.monotonic()
    process.kill()
    _waitFor(process, lambda: bool(codes), patience)
    return time.monotonic() - began


def _waitFor(process: WorkerProcess, done: Callable[[], bool], patience: float) -> None:
    began = time.monotonic()
    while not done():
        if time.monotonic() - began > patience:
            process.kill()
            raise RuntimeError(f"Slicer's Python did not answer within {patience:.0f} s.")
        process.pump()


def labelVoxels(node: Any) -> dict[int, int]:
    """Voxels of each label in a segmentation."""
    return valueCounts(labelArray(node)[0])


def sameGrid(volumeNode: Any, segmentationNode: Any) -> bool:
    """Whether a segmentation lies on the grid of a volume, to a thousandth of a millimeter."""
    first, (labels, affine) = volumeGrid(volumeNode), labelArray(segmentationNode)
    second = Grid(labels.shape, affine)
    return first.shape == second.shape and bool(np.allclose(first.affine, second.affine, atol=1e-3))
