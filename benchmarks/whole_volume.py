"""A large volume through the whole pipeline, as a user runs it: label map of a real patient in, files out.

    python -m benchmarks.whole_volume [--size 512 512 256] [--spacing 0.8 0.8 1.5] [--model synthct-embedded-v2]
                                      [--device cpu]

The model is used on a grid larger and finer than its card allows (a copy of the card without limits), so this shows
time and memory, not quality. In a process of its own. The last line is JSON: ``seconds`` of each step from the report,
``processor_seconds`` of all (with OMP_NUM_THREADS=1 little dependent on what else runs), ``peak_gb`` of the process and
how the decoder cut the volume.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.full_size import Clock, measure, tell
from SynthCTLib.cases import demo_case
from SynthCTLib.job import Job
from SynthCTLib.output import REPORT
from SynthCTLib.pipeline import generate
from SynthCTLib.resources import resource_path

UNLIMITED = {"min": 16, "max": 4096}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=(512, 512, 256))
    parser.add_argument("--spacing", type=float, nargs=3, default=(0.8, 0.8, 1.5))
    parser.add_argument("--model", default="synthct-embedded-v2")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = without_limits(resource_path("models", options.model), Path(folder) / options.model)
        job = Job(
            demo_case().path,
            Path(folder) / "result",
            str(model),
            size=tuple(options.size),
            spacing=tuple(options.spacing),
            device=options.device,
            seed=7,
        )
        run = measure(make, job)
    tell(
        {
            "size": options.size,
            "total_seconds": round(run.seconds, 1),
            "processor_seconds": round(run.processor_seconds, 1),
            "peak_gb": round(run.memory / 1e9, 2),
            "gpu_gb": round(run.gpu_memory / 1e9, 2),
            **run.value,
        }
    )


def without_limits(source: Path, target: Path) -> Path:
    """A copy of a model's folder whose card allows any grid."""
    shutil.copytree(source, target)
    path = target / "card.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    card["grid"] |= {axis: card["grid"][axis] | UNLIMITED for axis in ("xy", "z")}
    card["grid"] |= {"spacing_xy": [0.1, 10.0], "spacing_z": [0.1, 10.0]}
    path.write_text(json.dumps(card), encoding="utf-8")
    return target


def make(job: Job) -> tuple[float, dict[str, Any]]:
    """Seconds of the whole job, and what its report says."""
    Clock.processor_seconds -= time.process_time()
    began = time.perf_counter()
    result = generate(job)
    seconds = time.perf_counter() - began
    Clock.processor_seconds += time.process_time()
    report = json.loads((result.cts[0].folder / REPORT).read_text(encoding="utf-8"))
    return seconds, {"seconds": report["timings"], "decode": report["decode"], "organs": len(report["organs"])}


if __name__ == "__main__":
    main()
