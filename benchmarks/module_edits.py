"""How long the module keeps Slicer's window waiting on a large grid: edits of the anatomy, and loading a result.

    python -m benchmarks.module_edits [--size 512 512 256] [--structures 20] [--repeats 3]

Needs slicer-core (extra module-test), whose scene is Slicer's without a window. A bundled case, put onto a grid of
--size with its --structures largest structures, gets a lesion, a grown and a shrunk organ, and is mirrored; a CT
(with noise, so that it packs as real ones do) and its mask are loaded as after a run. *Look* is what the panels do once
after an edit, in one piece: the label map is composed to plan the grid. All else is done in the steps in which Slicer
would do it, with 10 ms between them.

Printed are, as medians of --repeats, processor seconds of everything, and of the longest step those of the main thread:
so long would the window stand still on an idle machine. Ratio: everything by the longest step, the wait in one piece by
the wait in steps. Seconds by the clock are told as well; they depend on what else
runs. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np

from SynthCTLib.cases import find_case
from SynthCTLib.label_file import read_label_file
from SynthCTLib.output import write_nifti
from SynthCTLib.volume import Volume

ROOT = Path(__file__).resolve().parent.parent
CASE = "totalseg_s0327_abdomen_pelvis"
LIVER, LIVER_TUMOR = 1, 26
PAUSE = 0.01
ENDED = object()
Work = Generator[None, None, Any]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=(512, 512, 256))
    parser.add_argument("--structures", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT / "SynthCT"))
    labels, affine = large_anatomy(tuple(options.size), options.structures)
    with tempfile.TemporaryDirectory() as folder:
        files = write_result(Path(folder), labels, affine)
        rows = measured(labels, affine, files, options.repeats)
    print(f"{'':8}{'longest step: CPU s':>20}{'clock s':>9}{'all: CPU s':>12}{'clock s':>9}{'ratio':>7}")
    for name, (step, step_clock, whole, clock) in rows.items():
        print(f"{name:8}{step:20.2f}{step_clock:9.2f}{whole:12.2f}{clock:9.2f}{whole / step:7.1f}")
    ratio = {name: round(row[2] / row[0], 1) for name, row in rows.items()}
    print(json.dumps({"ratio": ratio, **{name: [round(value, 3) for value in row] for name, row in rows.items()}}))


def large_anatomy(size: tuple[int, ...], structures: int) -> tuple[np.ndarray, np.ndarray]:
    """The case's largest structures on a grid of ``size``, nearest voxel, X fastest, and the affine of that grid."""
    labels, affine = read_label_file(find_case(CASE).path)
    ids, counts = np.unique(labels[labels > 0], return_counts=True)
    kept = {*ids[np.argsort(-counts)][:structures].tolist(), LIVER}
    labels = np.where(np.isin(labels, list(kept)), labels, 0).astype(np.uint8)
    index = [np.arange(new) * old // new for new, old in zip(size, labels.shape, strict=True)]
    scaled = affine.copy()
    scaled[:3, :3] *= np.array(labels.shape) / np.array(size)
    return np.asfortranarray(labels[np.ix_(*index)]), scaled


def write_result(folder: Path, labels: np.ndarray, affine: np.ndarray) -> dict[str, Path]:
    """Files as of a run: a CT with noise of 20 HU, the mask, and a recorded report."""
    noise = np.random.default_rng(0).standard_normal(labels.shape, np.float32) * 20
    files = {name: folder / f"{name}.nii.gz" for name in ("ct", "mask")}
    write_nifti(files["ct"], Volume((np.where(labels, 50, -1000) + noise).astype(np.int16), affine), "benchmark")
    write_nifti(files["mask"], Volume(labels, affine), "benchmark")
    return {**files, "report": ROOT / "Testing" / "module" / "recorded" / "report.json"}


def measured(labels: np.ndarray, affine: np.ndarray, files: dict[str, Path], repeats: int) -> dict[str, list[float]]:
    """By name the medians of: longest step (CPU of the main thread, clock), everything (CPU, clock); seconds."""
    import slicer

    scene = slicer.vtkMRMLScene()
    logics = [slicer.vtkSlicerSegmentationsModuleLogic(), slicer.vtkSlicerVolumesLogic()]
    for logic in logics:
        logic.SetMRMLScene(scene)
    from SynthCTModule.AnatomyEdits import growStructure, mirrorAnatomy, putLesion
    from SynthCTModule.ImportRun import importRun
    from SynthCTModule.LabelArray import labelArray
    from SynthCTModule.SegmentationExchange import importLabelmap

    node = importLabelmap(labels, affine, "Anatomy", scene)
    edits: dict[str, Callable[[], Work]] = {
        "lesion": lambda: putLesion(node, LIVER_TUMOR, 20.0, LIVER, True, 1),
        "grow": lambda: growStructure(node, LIVER, 3.0),
        "shrink": lambda: growStructure(node, LIVER, -3.0),
        "mirror": lambda: mirrorAnatomy(node),
    }

    def look() -> Work:
        labelArray(node)
        yield

    runs: dict[str, list[tuple[float, ...]]] = {name: [] for name in (*edits, "look", "load")}
    for _repeat in range(repeats):
        for name, edit in edits.items():
            runs[name].append(timed(edit()))
        runs["look"].append(timed(look()))
        result = {**files, "seed": 1}
        runs["load"].append(timed(importRun([result], node, {"seed": 1}, scene=scene)))
    return {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in runs.items()}


def timed(work: Work) -> tuple[float, ...]:
    """Do it in steps; the four numbers of :func:`measured`."""
    longest, longest_clock = 0.0, 0.0
    began, processor = time.perf_counter(), time.process_time()
    while True:
        step, step_clock = time.thread_time(), time.perf_counter()
        ended = next(work, ENDED) is ENDED
        longest = max(longest, time.thread_time() - step)
        longest_clock = max(longest_clock, time.perf_counter() - step_clock)
        if ended:
            return longest, longest_clock, time.process_time() - processor, time.perf_counter() - began
        time.sleep(PAUSE)


if __name__ == "__main__":
    main()
