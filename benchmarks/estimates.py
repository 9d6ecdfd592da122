"""What the Slicer module needs to say how long a CT will take and how much memory, before it is made.

    python -m benchmarks.estimates [--mask FILE] [--repeats 2] [--out Resources/estimates.json]

Counts the work and the memory of every shipped model's networks (``network_work.py``), runs the embedded model on this
machine in three sizes, and writes ``Resources/estimates.json``: work per voxel by model, multiplications per second by
stage, seconds per voxel of what is no network, memory of the program itself. The arithmetic is in
``SynthCT/SynthCTModule/Estimates.py``, which learns from a user's own runs. The last line is JSON: what was measured.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from benchmarks.full_size import measure, tell
from benchmarks.network_work import NetworkWork, Size, linear_and_quadratic
from SynthCTLib.cards import ModelCard, load_card, shipped_cards
from SynthCTLib.grid import axis_rules
from SynthCTLib.job import DEFAULT_MODEL, Job
from SynthCTLib.report import Timings
from SynthCTLib.resources import resource_path

SCHEMA = 1
SIZES: tuple[Size, ...] = ((64, 64, 48), (96, 96, 64), (128, 128, 96))
STEPS = 6
BUDGETS = (2, 4, 8, 16, 32)
"""Gigabytes that decoding may take, for which it is planned."""

SPEEDS = ("embed", "denoise", "decode")
OTHER_STAGES = ("prepare", "check", "write")
SPANS = 5
"""Number of sizes from the smallest to the largest that a card allows."""


def count(card: ModelCard) -> dict[str, Any]:
    """Work and memory of one model's networks."""
    networks, sizes = NetworkWork(card), spread_sizes(card)
    voxels = [prod(size) for size in sizes]
    linear, quadratic = linear_and_quadratic(voxels, [networks.denoise(size) for size in sizes])
    embedded = [networks.embed(size) for size in sizes]
    tables = []
    for budget in BUDGETS:
        plans = [networks.decode(size, budget * 10**9) for size in sizes]
        tables.append({"budget": budget * 10**9, "work": [w for w, _ in plans], "bytes": [b for _, b in plans]})
    return {
        "weights": networks.weights(),
        "voxels": voxels,
        "embed": {"work": [work for work, _ in embedded], "bytes": [peak for _, peak in embedded]},
        "denoise": {
            "linear": round(linear, 1),
            "quadratic": quadratic,
            "bytes_per_voxel": round(networks.denoise_memory(sizes[0]) / voxels[0], 1),
        },
        "decode": tables,
    }


def spread_sizes(card: ModelCard) -> list[Size]:
    """Sizes from the smallest to the largest that the card allows."""
    rules = axis_rules(card.grid)
    found = []
    for part in np.linspace(0, 1, SPANS):
        x, y, z = (rule.sizes[round(part * (len(rule.sizes) - 1))] for rule in rules)
        found.append((x, y, z))
    return sorted(set(found))


class ProcessorTimings(Timings):
    """Networks keep all threads busy, so their time is that of the processor per thread: others do not count in it."""

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Measure the block as ``stage``."""
        before, began = self.seconds.get(stage, 0.0), time.process_time()
        with super().measure(stage):
            yield
        if stage in SPEEDS:
            self.seconds[stage] = before + (time.process_time() - began) / torch.get_num_threads()


def run(mask: str, size: Size, folder: str) -> tuple[float, dict[str, float]]:
    """One CT of the embedded model in float32, which every CPU can do: seconds by stage."""
    from SynthCTLib import pipeline

    job = Job(Path(mask), Path(folder) / "out", size=size, steps=STEPS, seed=1, device="cpu")
    with (
        mock.patch.object(pipeline, "inference_dtype", lambda _: torch.float32),
        mock.patch.object(pipeline, "Timings", ProcessorTimings),
    ):
        (ct,) = pipeline.generate(job).cts
    timings = json.loads((ct.folder / ct.files["report"]).read_text(encoding="utf-8"))["timings"]
    return timings["total"], timings


def measure_machine(mask: str, repeats: int, work: dict[str, Any]) -> dict[str, Any]:
    """Speeds and memory from runs of the embedded model; of several runs the least counts."""
    seconds: dict[Size, dict[str, float]] = {}
    memory: dict[Size, int] = {}
    for size in SIZES * repeats:
        with tempfile.TemporaryDirectory() as folder:
            measured = measure(run, mask, size, folder)
        before = seconds.get(size, measured.value)
        seconds[size] = {stage: min(value, before[stage]) for stage, value in measured.value.items()}
        memory[size] = measured.memory
        print(f"{size}: {measured.value}, {measured.memory / 1e9:.2f} GB", flush=True)
    card = load_card(DEFAULT_MODEL)
    amounts = {size: work_of(work, prod(size)) for size in SIZES}
    ratio, program = np.polyfit([peak_of_features(card, size) for size in SIZES], [memory[size] for size in SIZES], 1)
    largest = SIZES[-1]
    return {
        "start": round(min(measure(import_engine).seconds for _ in range(repeats)), 1),
        "load": round(min(times["load"] for times in seconds.values()), 2),
        "speed": {stage: round(max(amounts[size][stage] / seconds[size][stage] for size in SIZES)) for stage in SPEEDS},
        "seconds_per_megavoxel": {
            stage: round(seconds[largest][stage] / prod(largest) * 1e6, 3) for stage in OTHER_STAGES
        },
        "program_bytes": round(program),
        "bytes_per_feature_byte": round(float(ratio), 2),
    }


def work_of(card_work: dict[str, Any], voxels: int) -> dict[str, float]:
    """Multiplications by stage of a run with STEPS steps."""
    a, b = card_work["denoise"]["linear"], card_work["denoise"]["quadratic"]
    embed, decode = (
        float(np.interp(voxels, card_work["voxels"], part))
        for part in (card_work["embed"]["work"], card_work["decode"][-1]["work"])
    )
    return {"denoise": STEPS * (a * voxels + b * voxels**2), "embed": embed, "decode": decode}


def import_engine() -> tuple[float, None]:
    """Seconds until a new Python has loaded PyTorch, MONAI and the engine."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import SynthCTLib.pipeline"], check=True)
    return time.perf_counter() - began, None


def main() -> None:
    """Count, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mask", default=str(resource_path("Cases", "totalseg_s0327_chest", "labels.nii.gz")))
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--out", type=Path, default=resource_path("estimates.json"))
    options = parser.parse_args()
    cards = {card.id: count(card) for card in shipped_cards()}
    machine = {"cpu": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
    found = measure_machine(options.mask, options.repeats, cards[DEFAULT_MODEL])
    result = {"schema": SCHEMA, "machine": machine | {"torch": torch.__version__}, **found, "cards": cards}
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    tell(found)


def peak_of_features(card: ModelCard, size: Size) -> int:
    """Bytes in float32 of the stage that takes most."""
    networks = NetworkWork(card)
    return max(networks.denoise_memory(size), networks.embed(size)[1], networks.decode(size, BUDGETS[-1] * 10**9)[1])


if __name__ == "__main__":
    main()
