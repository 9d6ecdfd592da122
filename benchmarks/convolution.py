"""Layers of the decoder on the CPU: Winograd's method in float32 beside oneDNN's convolutions, and how far off it is.

    OMP_NUM_THREADS=1 python -m benchmarks.convolution [--repeats 5]

For each layer of the released decoder the milliseconds, the least of --repeats, in a box as tiles have it: of the
processor with one thread, so that other programs matter little, of the clock with more. The kernel's transform, once
per sweep over all tiles, is a column of its own. The last line is JSON: ``ratio_float32`` and ``ratio_bfloat16``
(oneDNN's time over Winograd's with the transform left out, of all layers together), ``threads`` and ``largest_error``
(of float32 against float64, in standard deviations of the result).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from benchmarks.full_size import tell
from SynthCTLib import winograd

LAYERS = ((32, 32, 64), (64, 64, 64), (128, 64, 64), (128, 128, 32), (256, 128, 32), (256, 256, 32), (256, 256, 8))
"""Channels in and out, and side of the box; the first is too narrow for the method to be chosen."""

AROUND = (1, 1, 1)


@torch.inference_mode()
def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    rows, errors = [], []
    print(f"{'layer':20}{'float32':>10}{'bfloat16':>10}{'Winograd':>10}{'transform':>11}  ms")
    for channels, out, side in LAYERS:
        times, error = measure(channels, out, side, options.repeats)
        rows.append(times)
        errors.append(error)
        print(f"{channels} → {out}, {side}³".ljust(20) + "".join(f"{1e3 * t:10.1f}" for t in times), flush=True)
    single, half, fast, _ = (sum(column) for column in zip(*rows, strict=True))
    tell(
        {
            "ratio_float32": round(single / fast, 2),
            "ratio_bfloat16": round(half / fast, 2),
            "threads": torch.get_num_threads(),
            "largest_error": float(f"{max(errors):.1e}"),
        }
    )


def measure(channels: int, out: int, side: int, repeats: int) -> tuple[tuple[float, ...], float]:
    """Seconds of oneDNN in float32 and bfloat16, of Winograd's method and of its transform; the method's error."""
    torch.manual_seed(0)
    x = torch.randn(1, channels, side, side, side).contiguous(memory_format=torch.channels_last_3d)
    weight, bias = torch.randn(out, channels, 3, 3, 3) / (27 * channels) ** 0.5, torch.randn(out)
    xh, wh, bh = (value.bfloat16() for value in (x, weight, bias))
    kernels, size = winograd.transformed(weight), (side,) * 3
    ways: list[Callable[[], torch.Tensor]] = [
        lambda: F.conv3d(x, weight, bias, padding=1),
        lambda: F.conv3d(xh, wh, bh, padding=1),
        lambda: winograd.convolve(x, kernels, bias, AROUND, size, torch.float32),
        lambda: winograd.transformed(weight),
    ]
    corner = tuple(slice(min(side, 8)) for _ in range(3))
    reach = (slice(None), slice(None), *(slice(min(side, 9)) for _ in range(3)))
    exact = F.conv3d(x[reach].double(), weight.double(), bias.double(), padding=1)[(0, slice(None), *corner)]
    off = (ways[2]()[(0, slice(None), *corner)] - exact).abs().max() / exact.std()
    return tuple(least_time(way, repeats) for way in ways), float(off)


def least_time(work: Callable[[], torch.Tensor], repeats: int) -> float:
    """Seconds of the fastest of several runs, after one that is not counted."""
    now = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    work()
    seconds = []
    for _ in range(repeats):
        start = now()
        work()
        seconds.append(now() - start)
    return min(seconds)


if __name__ == "__main__":
    main()
