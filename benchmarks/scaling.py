"""Does the cost grow linearly with the voxels? Seconds of four sizes, and the exponent fitted to them.

    python -m benchmarks.scaling [--device cpu] [--steps 2] [--depths 32 64 128 256] [--side 128]

The last line is JSON: ``exponent`` of seconds ∝ voxels^exponent (1 is linear), fitted to all sizes, of the whole, the
denoiser and the decoder, and ``exponent_last`` of the whole between the two largest. Attention grows with the square of
the voxels; at these sizes it is still a small part.
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks import engine
from benchmarks.full_size import measure, stored_networks, tell


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--depths", type=int, nargs="+", default=(32, 64, 128, 256))
    options = parser.parse_args()
    rows = []
    with stored_networks() as models:
        for depth in options.depths:
            size = (options.side, options.side, depth)
            run = measure(engine.run, models, size, options.steps, "euler", options.device)
            rows.append((np.prod(size), run.seconds, run.value["denoise_seconds"], run.value["decode_seconds"]))
            print(f"{size}: {run.seconds:.2f} s, {run.memory / 1e9:.2f} GB, {run.value['decode']}", flush=True)
    voxels, *times = np.log(np.array(rows, float)).T
    whole, denoise, decode = (round(float(np.polyfit(voxels, t, 1)[0]), 3) for t in times)
    last = round(float(np.diff(times[0])[-1] / np.diff(voxels)[-1]), 3)
    tell({"exponent": whole, "exponent_last": last, "exponent_denoise": denoise, "exponent_decode": decode})


if __name__ == "__main__":
    main()
