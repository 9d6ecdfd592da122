"""Wide convolutions on few voxels: oneDNN's convolution against one product (``SynthCTLib/few_voxels.py``).

    OMP_NUM_THREADS=1 python -m benchmarks.few_voxels [--dtype bfloat16] [--repeats 30]

Layers of the released denoiser. Six of each take turns, so that weights come from memory as in a real step. Printed is
the first quartile of the processor's milliseconds: of the convolution with weights as the engine keeps them (channels
last in bfloat16), of the convolution with weights in the usual order, and of the product. The last line is JSON:
``ratio``, the first by the last, of each layer.
"""

from __future__ import annotations

import argparse
import copy
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
            usual, contiguous, product = measure(inputs, outputs, grid, dtype, options.repeats)
        ratios.append([inputs, outputs, *grid, round(usual / product, 2)])
        layer = f"{inputs:5} → {outputs:4}, {'×'.join(map(str, grid)):9}"
        print(f"{layer} {usual:8.2f} ms {contiguous:8.2f} ms {product:8.2f} ms")
    tell({"ratio": ratios, "dtype": options.dtype})


def measure(
    inputs: int, outputs: int, grid: tuple[int, int, int], dtype: torch.dtype, repeats: int
) -> tuple[float, ...]:
    """Milliseconds as a convolution, as one with weights in the usual order, and as a product; run in turns."""
    plain = [nn.Conv3d(inputs, outputs, 3, padding=1).to(dtype) for _ in range(TAKING_TURNS)]
    kept, x = plain, torch.randn(1, inputs, *grid).to(dtype)
    if dtype is torch.bfloat16:
        last = torch.channels_last_3d
        kept = [copy.deepcopy(layer).to(memory_format=last) for layer in plain]  # type: ignore[call-overload]
        x = x.to(memory_format=last)
    ways: tuple[tuple[Way, list[nn.Conv3d]], ...] = (
        (lambda layer: layer(x), kept),
        (lambda layer: layer(x), plain),
        (lambda layer: as_product(x, layer.weight, layer.bias), kept),
    )
    taken: tuple[list[float], ...] = ([], [], [])
    for turn in itertools.islice(itertools.cycle(range(TAKING_TURNS)), repeats):
        for offset, ((way, layers), milliseconds) in enumerate(zip(ways, taken, strict=True)):
            # Another layer for each way: none finds its weights in the cache because the way before has read them.
            layer = layers[(turn + 2 * offset) % TAKING_TURNS]
            began = time.process_time()
            way(layer)
            milliseconds.append(1e3 * (time.process_time() - began))
    return tuple(statistics.quantiles(milliseconds, n=4)[0] for milliseconds in taken)


if __name__ == "__main__":
    main()
