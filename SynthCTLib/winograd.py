"""Convolutions with a kernel of 3×3×3 by Winograd's method, in float32 on the CPU: an eighth of the multiplications.

Along one axis, four outputs of a kernel of three come from six products in place of twelve (Lavin & Gray, arXiv
1509.09308, section 4.3: F(4, 3)): ``output = OUTPUT · ((KERNEL · k) ⊙ (INPUT · d))`` for six inputs d. Nested along
three axes, 4³ outputs take 6³ products per pair of channels in place of 4³ · 27. Over channels the products are 216
matrix multiplications, and the transforms are matrix multiplications, too, with rows long enough to be fast.

Rounding grows with the numbers in the matrices: a result differs from the direct one by 1e-5 of its standard deviation
(3e-4 at most in 10⁷ values). So it computes in float32 alone; what it reads and writes may be half precision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from math import prod

import torch

STEP, REACH = 4, 6
"""Outputs of a tile along an axis, and the inputs that they need."""

INPUT = torch.tensor(
    [
        [4.0, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
KERNEL = (
    torch.tensor([[6.0, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float64) / 24
)
OUTPUT = torch.tensor([[1.0, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])

TILES = 128
"""Tiles that are computed at once: enough rows for a matrix multiplication, few enough for a processor's cache."""

LONGEST = 16
"""Tiles along the last axis, whose voxels lie side by side."""

NARROWEST = 64
"""Channels from which on it is faster; with 32 the transforms take as long as what they save."""

SMALLEST = 512
"""Voxels from which on it is faster with a kernel that was transformed before."""

Block = tuple[int, int, int]


def suits(weight: torch.Tensor, size: Sequence[int]) -> bool:
    """Whether a convolution whose output has this size is faster this way than directly."""
    padded = prod(-(-n // STEP) * STEP for n in size)
    return (
        weight.device.type == "cpu"
        and weight.dtype in (torch.float32, torch.float16)
        and tuple(weight.shape[2:]) == (3, 3, 3)
        and min(weight.shape[:2]) >= NARROWEST
        and prod(size) >= SMALLEST
        and padded < 2 * prod(size)
    )


def scratch(weight: torch.Tensor, size: Sequence[int]) -> int:
    """Bytes that :func:`transformed` and then :func:`convolve` take beside input, kernels and output, at most.

    Either a float32 copy of the kernel, or what a block of tiles takes, for each thread: the most is held either while
    the input of one sixth is transformed, with the results of the sixth before still there, or at the very end.
    """
    out, channels = weight.shape[:2]
    tiles = [-(-n // STEP) for n in size]
    x, y, z = _block(tiles)
    plane = (STEP * y + REACH - STEP) * (STEP * z + REACH - STEP)
    inputs = (STEP * x + REACH - STEP + REACH * x) * plane * channels
    sums = (REACH * STEP**2 + REACH**2 + REACH * STEP) * out
    latest = max(3 * REACH**2 * channels + sums, REACH**2 * channels + sums + STEP**3 * out)
    at_once = min(torch.get_num_threads(), len(_starts(tiles, (x, y, z))))
    return 4 * (out + max(27 * (out * channels + REACH**3), at_once * (inputs + x * y * z * latest)))


def kernel_bytes(weight: torch.Tensor) -> int:
    """Bytes of :func:`transformed` kernels."""
    return 4 * REACH**3 * prod(weight.shape[:2])


def convolve(
    x: torch.Tensor,
    kernels: torch.Tensor,
    bias: torch.Tensor | None,
    before: Sequence[int],
    size: Sequence[int],
    dtype: torch.dtype,
) -> torch.Tensor:
    """What ``F.conv3d`` gives.

    Args:
        x: (1, C, x, y, z), channels last, any number format.
        kernels: :func:`transformed` weights.
        bias: (C',) or None, float32 or half precision.
        before: voxels of zeros that stand in front of x along each axis, 0 or 1; behind it as many as are needed.
        size: of the output.
        dtype: its number format.

    Returns:
        (1, C', *size), channels last.
    """
    out = kernels.shape[3]
    values = x[0].permute(1, 2, 3, 0)
    shift = torch.zeros(out) if bias is None else bias.float()
    whole = torch.empty((1, out, *size), dtype=dtype, memory_format=torch.channels_last_3d)
    result = whole[0].permute(1, 2, 3, 0)
    tiles = [-(-n // STEP) for n in size]
    block = _block(tiles)

    def compute(first: Block) -> None:
        number = [min(k, n - i) for k, n, i in zip(block, tiles, first, strict=True)]
        start = [STEP * i - zeros for i, zeros in zip(first, before, strict=True)]
        patch = _read(values, start, [STEP * k + REACH - STEP for k in number])
        target = result[tuple(slice(STEP * i, STEP * (i + k)) for i, k in zip(first, number, strict=True))]
        _write(target, _convolved(patch, kernels, number).add_(shift))

    _for_each(compute, _starts(tiles, block))
    return whole


def transformed(weight: torch.Tensor) -> torch.Tensor:
    """(C', C, 3, 3, 3) → (6, 36, C, C') float32: a matrix over channels for each of 6³ products."""
    out, channels = weight.shape[:2]
    along_all = torch.kron(torch.kron(KERNEL, KERNEL), KERNEL).float()
    taps = weight.permute(2, 3, 4, 1, 0).reshape(27, -1).float()
    return torch.mm(along_all, taps).view(REACH, REACH**2, channels, out)


def _for_each(compute: Callable[[Block], None], blocks: Sequence[Block]) -> None:
    """All blocks, each on one of as many threads as PyTorch computes with: sharing out each operation gains little."""
    threads = torch.get_num_threads()
    if min(threads, len(blocks)) == 1:
        for block in blocks:
            compute(block)
        return

    def without_gradients(block: Block) -> None:
        with torch.inference_mode():  # each thread has a mode of its own
            compute(block)

    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(without_gradients, blocks))
    finally:
        torch.set_num_threads(threads)  # those of the pool change what other threads start with


def _starts(tiles: Sequence[int], block: Block) -> list[Block]:
    """The first tile of each block, along each axis."""
    x, y, z = (range(0, n, k) for n, k in zip(tiles, block, strict=True))
    return list(product(x, y, z))


def _block(tiles: Sequence[int]) -> Block:
    """Tiles along each axis of what is computed at once: long rows first, blocks of nearly equal size."""
    z = _even(tiles[2], LONGEST)
    y = _even(tiles[1], TILES // z)
    return _even(tiles[0], TILES // (y * z)), y, z


def _even(number: int, most: int) -> int:
    """The size of as few equal parts of ``number`` as are no larger than ``most``."""
    return -(-number // -(-number // max(1, most)))


def _read(values: torch.Tensor, start: Sequence[int], size: Sequence[int]) -> torch.Tensor:
    """A box of (x, y, z, C) values as float32, with zeros where it lies outside of them."""
    box = torch.zeros((*size, values.shape[3]))
    inside = [(max(0, a), min(n, a + k)) for a, k, n in zip(start, size, values.shape, strict=False)]
    there = tuple(slice(low - a, high - a) for (low, high), a in zip(inside, start, strict=True))
    box[there] = values[tuple(slice(low, high) for low, high in inside)]
    return box


def _convolved(patch: torch.Tensor, kernels: torch.Tensor, tiles: Sequence[int]) -> torch.Tensor:
    """(4x+2, 4y+2, 4z+2, C) → (x, 4, y, 4, z, 4, C') for x·y·z tiles, one sixth of the products after the other."""
    channels, out = kernels.shape[2:]
    number = prod(tiles)
    rows = patch.view(len(patch), -1).unfold(0, REACH, STEP).transpose(1, 2)
    planes = _along(INPUT, rows).view(tiles[0], REACH, *patch.shape[1:]).unbind(1)
    sums = torch.empty((REACH, STEP, STEP, number * out))
    for plane, kernel, target in zip(planes, kernels, sums, strict=True):
        cut = plane.unfold(1, REACH, STEP).unfold(2, REACH, STEP).permute(4, 5, 0, 1, 2, 3)
        spectrum = _along(INPUT, _along(INPUT, cut.reshape(1, REACH, -1)).view(REACH, REACH, -1))
        products = torch.bmm(spectrum.view(REACH**2, number, channels), kernel)
        half_way = _along(OUTPUT, products.view(1, REACH, -1)).view(STEP, REACH, -1)
        torch.bmm(OUTPUT.expand(STEP, -1, -1), half_way, out=target)
    result = _along(OUTPUT, sums.view(1, REACH, -1))
    return result.view(STEP, STEP, STEP, *tiles, out).permute(3, 0, 4, 1, 5, 2, 6)


def _along(matrix: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """``matrix`` times each of a batch: (batch, n, long) → (batch, m, long)."""
    return torch.bmm(matrix.expand(len(rows), -1, -1), rows)


def _write(target: torch.Tensor, tiles: torch.Tensor) -> None:
    """Tiles (x, 4, y, 4, z, 4, C') into (X, Y, Z, C'), which may end before the last tile does."""
    size = [STEP * tiles.shape[axis] for axis in (0, 2, 4)]
    if list(target.shape[:3]) == size:
        target.unflatten(2, (-1, STEP)).unflatten(1, (-1, STEP)).unflatten(0, (-1, STEP)).copy_(tiles)
    else:
        target.copy_(tiles.reshape(*size, -1)[tuple(slice(n) for n in target.shape[:3])])
