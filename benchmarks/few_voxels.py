"""Wide convolutions on few voxels: oneDNN's convolution against one product (``SynthCTLib/few_voxels.py``).

    OMP_NUM_THREADS=1 python -m benchmarks.few_voxels [--dtype bfloat16] [--repeats 30]

Layers of the released denoiser. Six of each take turns, so that weights come from memory as in a real step. Printed is
the first quartile of the processor's milliseconds. The last line is JSON: ``ratio``, the convolution's time by the
product's, of each layer. Weights are channels last, as the engine keeps them in bfloat16.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.full_size import tell
from SynthCTLib.few_voxels import as_product

LAYERS = [
    (256, 256, (4, 4, 2)),
    (512, 512, (4, 4, 2)),
    (1024, 512, (4, 4, 2)),
    (512, 512, (4, 4, 4)),
    (128, 256, (8, 8, 4)),
    (256, 256, (8, 8, 4)),
    (768, 256, (8, 8, 4)),
    (512, 512, (8, 8, 4)),
    (128, 128, (16, 16, 8)),
    (256, 256, (16, 16, 8)),
]
TAKING_TURNS = 6

Way = Callable[[nn.Conv3d], torch.Tensor]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    dtype, ratios = getattr(torch, options.dtype), []
    for inputs, outputs, grid in LAYERS:
        with torch.inference_mode():
            usual, product = measure(inputs, outputs, grid, dtype, options.repeats)
        ratios.append([inputs, outputs, *grid, round(usual / product, 2)])
        print(f"{inputs:5} → {outputs:4}, {'×'.join(map(str, grid)):9} {usual:8.2f} ms {product:8.2f} ms")
    tell({"ratio": ratios, "dtype": options.dtype})


def measure(
    inputs: int, outputs: int, grid: tuple[int, int, int], dtype: torch.dtype, repeats: int
) -> tuple[float, float]:
    """Milliseconds as a convolution and as a product; both are run in turns."""
    layers = [nn.Conv3d(inputs, outputs, 3, padding=1).to(dtype) for _ in range(TAKING_TURNS)]
    layers = [layer.to(memory_format=torch.channels_last_3d) for layer in layers]  # type: ignore[call-overload]
    x = torch.randn(1, inputs, *grid).to(dtype, memory_format=torch.channels_last_3d)
    ways: tuple[Way, Way] = (lambda layer: layer(x), lambda layer: as_product(x, layer.weight, layer.bias))
    taken: tuple[list[float], list[float]] = ([], [])
    turns = itertools.cycle(range(TAKING_TURNS))
    for _ in range(repeats):
        turn = next(turns)
        for way, milliseconds in zip(ways, taken, strict=True):
            began = time.process_time()
            way(layers[turn])
            milliseconds.append(1e3 * (time.process_time() - began))
    usual, product = (statistics.quantiles(milliseconds, n=4)[0] for milliseconds in taken)
    return usual, product


if __name__ == "__main__":
    main()
