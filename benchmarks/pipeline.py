"""What the steps around the networks take for one large case: seconds, memory, and their share of the whole.

    python -m benchmarks.pipeline [--data FOLDER] [--size 512 512 256] [--spacing 0.8 0.8 1.5] [--repeats 3]
                                  [--engine-size 128 128 64] [--gpu-seconds 10] [--levels]

FOLDER holds ``labels.nii.gz`` in MAISI ids without a body envelope; the default is the bundled demo case. The map is
put onto a grid of --size and --spacing, stored with axes toward left, posterior, superior, as scanners do, and goes
through the steps of ``SynthCTLib/pipeline.py`` for the model nv-generate-ct-rflow. The CT is made up: the typical HU of
each label and noise of 20 HU.

Each step runs in a fresh process, its inputs in memory before the clock starts. Printed are the median of --repeats
of the processor's seconds and of those that passed, which are the same where nothing else runs, the memory that the
process took beyond its inputs, and the share (by the processor's seconds) of the whole: the networks, the steps that
every job has, and for the last two groups these as well. The networks' time is that of a run of --engine-size with the
card's default steps on this machine, times the voxels; beside it stands a device that needs --gpu-seconds. --levels
compares the levels of compression. The last line is JSON.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
import psutil

from benchmarks import engine
from benchmarks.full_size import MODEL, measure, peak_memory, stored_networks, tell
from benchmarks.pipeline_steps import EVERY_JOB, STEPS, Folder, make_inputs
from SynthCTLib.cards import load_card
from SynthCTLib.cases import demo_case
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.slabs import in_file_order

LEVELS = range(1, 7)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=demo_case().path.parent)
    parser.add_argument("--size", type=int, nargs=3, default=(512, 512, 256))
    parser.add_argument("--spacing", type=float, nargs=3, default=(0.8, 0.8, 1.5))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--engine-size", type=int, nargs=3, default=(128, 128, 64))
    parser.add_argument("--gpu-seconds", type=float, default=10.0)
    parser.add_argument("--levels", action="store_true", help="compare levels of compression as well")
    options = parser.parse_args()
    size = tuple(options.size)
    networks = networks_seconds(tuple(options.engine_size), size)
    with tempfile.TemporaryDirectory() as folder:
        measure(make_inputs, folder, size, options.data, tuple(options.spacing))
        table = [Row(number, folder, size, options.repeats) for number in range(len(STEPS))]
        levels = measure(compress, folder, size).value if options.levels else []
    devices = {"this machine": networks, f"{options.gpu_seconds:g} s": options.gpu_seconds}
    print(f"{'':34}{'CPU s':>7}{'range':>12}{'clock s':>9}{'MB':>6}" + "".join(f"{name:>14}" for name in devices))
    for row in table:
        print(row.line() + "".join(f"{share(row, table, seconds):14.1%}" for seconds in devices.values()) + row.when())
    for line in levels:
        print(line)
    every = [row for row in table if row.step.group == EVERY_JOB and not row.step.parts]
    around = total(table, EVERY_JOB)
    tell(
        {
            "seconds": {group: round(total(table, group), 2) for group in dict.fromkeys(s.group for s in STEPS)},
            "networks_seconds": round(networks, 1),
            "whole_share": {name: round(around / (seconds + around), 4) for name, seconds in devices.items()},
            "largest_share": {
                name: round(max(share(row, table, seconds) for row in every), 4) for name, seconds in devices.items()
            },
            "memory_mb": round(max(row.memory for row in table) / 1e6),
            "size": size,
        }
    )


class Row:
    """One step, measured: the processor's ``seconds`` (median), those that passed, and the most ``memory`` in bytes."""

    def __init__(self, number: int, folder: str, size: tuple[int, ...], repeats: int) -> None:
        self.step = STEPS[number]
        runs = [measure(run_step, number, folder, size) for _ in range(repeats)]
        self._processor = [run.value[0] for run in runs]
        self.seconds = statistics.median(self._processor)
        self._clock = statistics.median(run.seconds for run in runs)
        self.memory = max(run.value[1] for run in runs)

    def line(self) -> str:
        """The columns that were measured."""
        spread = f"{min(self._processor):.2f}-{max(self._processor):.2f}"
        return f"{self.step.name:34}{self.seconds:7.2f}{spread:>12}{self._clock:9.2f}{self.memory / 1e6:6.0f}"

    def when(self) -> str:
        """When the step is needed, if not always."""
        return "" if self.step.group == EVERY_JOB else f"  {self.step.group}"


def total(table: list[Row], group: str) -> float:
    """Seconds of all steps of a group."""
    return sum(row.seconds for row in table if row.step.group == group and not row.step.parts)


def share(row: Row, table: list[Row], networks: float) -> float:
    """Share of a step in a job whose networks take that many seconds."""
    groups = {EVERY_JOB, row.step.group}
    return row.seconds / (networks + sum(total(table, group) for group in groups))


def networks_seconds(small: tuple[int, ...], size: tuple[int, ...]) -> float:
    """Seconds that denoising and decoding take for ``size`` on this machine, from a run of ``small``."""
    default = load_card(MODEL).defaults
    with stored_networks() as models:
        run = measure(engine.run, models, small, default["steps"], default["solver"], "cpu")
    seconds = run.seconds * float(np.prod(size)) / float(np.prod(small))
    print(f"networks: {run.seconds:.1f} s for {small}, so {seconds:.0f} s for {size}", flush=True)
    return seconds


def run_step(number: int, folder: str, size: tuple[int, ...]) -> tuple[float, tuple[float, int]]:
    """Seconds of one step by the clock and of the processor, and the bytes that it took beyond its inputs."""
    work = STEPS[number].start(Folder(folder, size))
    load_vocabulary()
    before = psutil.Process().memory_info().rss
    began, processor = time.perf_counter(), time.process_time()
    work()
    processor = time.process_time() - processor
    return time.perf_counter() - began, (processor, peak_memory() - before)


def compress(folder: str, size: tuple[int, ...]) -> tuple[float, list[str]]:
    """Lines that say how long each level of compression takes and how large the file is."""
    place, lines = Folder(folder, size), []
    for name in ("hu", "mask"):
        content = in_file_order(place.get(name).array).T.tobytes()
        for level in LEVELS:
            began = time.process_time()
            length = len(zlib.compress(content, level))
            lines.append(f"{name}, level {level}: {time.process_time() - began:.2f} s, {length / 1e6:.1f} MB")
    return 0.0, lines


if __name__ == "__main__":
    main()
