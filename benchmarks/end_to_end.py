"""One CT, from mask and noise to image: the engine against the reference's way (``reference.py``), in one run.

    python -m benchmarks.end_to_end [--size 128 128 64] [--device cpu] [--steps 30] [--repeats 1] [--decode-gb 12]

Each run has a process of its own; the time to load is not counted, memory is the peak of the process from its start,
libraries, weights and loading included. The baseline's networks are built in float32 without a file (what the
reference's loading adds is not held against it), the engine's loaded from files in half precision, as imported with
--half. The last line is JSON: ``ratio_equal_steps`` (baseline seconds / engine seconds, both with --steps of exact
Euler), ``ratio_default`` (against the engine's default solver and steps; null where those are no others) and
``memory_ratio`` (engine / baseline), with the engine's precision (denoiser, decoder): half on a CPU with instructions
for bfloat16, where the reference has float32 alone; ``ratio_…_processor``: of processor seconds, which with
OMP_NUM_THREADS=1 depend little on what else runs; ``cpu``: whether those instructions are AMX tiles (amx_bf16),
AVX-512's (avx512_bf16) or none.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
import torch

from benchmarks import engine, reference
from benchmarks.full_size import MODEL, Measured, measure, stored_networks, tell
from SynthCTLib.cards import load_card


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=(128, 128, 64))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--decode-gb", type=float, default=0, help="memory that decoding may take; 0: as usual")
    options = parser.parse_args()
    size, device = tuple(options.size), options.device
    budget = int(options.decode_gb * 1e9)
    default = load_card(MODEL).defaults
    runs: dict[str, list[Measured]] = {"baseline": [], "equal": [], "default": []}
    with stored_networks() as models:
        for _ in range(options.repeats):
            runs["baseline"].append(measure(reference.run, size, options.steps, device))
            for name, steps, solver in (
                ("equal", options.steps, "euler-exact"),
                ("default", default["steps"], default["solver"]),
            ):
                runs[name].append(measure(engine.run, models, size, steps, solver, device, budget))
    for name, measured in runs.items():
        seconds = [m.seconds for m in measured]
        spread = f"{min(seconds):.1f}-{max(seconds):.1f}"
        gpu = f", GPU {max(m.gpu_memory for m in measured) / 1e9:.2f} GB" if measured[0].gpu_memory else ""
        memory = max(m.memory for m in measured) / 1e9
        processor = statistics.median(m.processor_seconds for m in measured)
        print(
            f"{name:9} {statistics.median(seconds):8.1f} s ({spread}), {processor:.1f} s of processors, "
            f"{memory:.2f} GB{gpu}"
        )
    print("engine:", {k: v for k, v in runs["equal"][0].value.items() if k != "latent"})
    baseline, equal = runs["baseline"][0], runs["equal"][0]
    off = np.linalg.norm(equal.value["latent"] - baseline.value) / np.linalg.norm(baseline.value)

    def typical(name: str) -> float:
        return statistics.median(m.seconds for m in runs[name])

    def processor_ratio(name: str) -> float:
        baseline, engine = (statistics.median(m.processor_seconds for m in runs[key]) for key in ("baseline", name))
        return round(baseline / engine, 2)

    def most(name: str) -> int:
        return max(m.gpu_memory or m.memory for m in runs[name])

    same = (default["steps"], default["solver"]) == (options.steps, "euler-exact")
    tell(
        {
            "ratio_equal_steps": round(typical("baseline") / typical("equal"), 2),
            "ratio_default": None if same else round(typical("baseline") / typical("default"), 2),
            "ratio_equal_steps_processor": processor_ratio("equal"),
            "ratio_default_processor": None if same else processor_ratio("default"),
            "memory_ratio": round(most("equal") / most("baseline"), 3),
            "precision": equal.value["precision"],
            "decoder_precision": equal.value["decoder_precision"],
            "cpu": bfloat16_by(),
            "latent_difference": round(float(off), 4),
            "size": size,
            "steps": options.steps,
            "default": [default["solver"], default["steps"]],
        }
    )


def bfloat16_by() -> str:
    """What this CPU multiplies bfloat16 with; speeds of different CPUs compare only if this is the same."""
    return next((name for name in ("amx_bf16", "avx512_bf16") if torch.cpu.get_capabilities().get(name)), "none")


if __name__ == "__main__":
    main()
