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

    Either a float32 copy of the kernel, or a :class:`_Workspace` for each thread.
    """
    out, channels = weight.shape[:2]
    tiles = [-(-n // STEP) for n in size]
    block = _block(tiles)
    at_once = min(torch.get_num_threads(), len(_starts(tiles, block)))
    values = sum(_Workspace.lengths(block, channels, out))
    return 4 * (out + max(27 * (out * channels + REACH**3), at_once * values))


def blocks(size: Sequence[int]) -> int:
    """Parts in which an output of this size is computed, each by one thread."""
    tiles = [-(-n // STEP) for n in size]
    return len(_starts(tiles, _block(tiles)))


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

    def compute(starts: Sequence[Block]) -> None:
        space = _Workspace(block, *kernels.shape[2:])
        for first in starts:
            number = [min(k, n - i) for k, n, i in zip(block, tiles, first, strict=True)]
            start = [STEP * i - zeros for i, zeros in zip(first, before, strict=True)]
            target = result[tuple(slice(STEP * i, STEP * (i + k)) for i, k in zip(first, number, strict=True))]
            patch = space.patch(*(STEP * k + REACH - STEP for k in number), values.shape[3])
            _read(values, start, patch)
            _write(target, _convolved(patch, kernels, number, space).add_(shift), space)

    _share_out(compute, _starts(tiles, block))
    return whole


def transformed(weight: torch.Tensor) -> torch.Tensor:
    """(C', C, 3, 3, 3) → (6, 36, C, C') float32: a matrix over channels for each of 6³ products."""
    out, channels = weight.shape[:2]
    along_all = torch.kron(torch.kron(KERNEL, KERNEL), KERNEL).float()
    taps = weight.permute(2, 3, 4, 1, 0).reshape(27, -1).float()
    return torch.mm(along_all, taps).view(REACH, REACH**2, channels, out)


class _Workspace:
    """Memory of a thread for blocks of tiles, taken once: fresh memory for each product would cost more than it does.

    What two steps need one after the other lies in two halves of one buffer, which serve in turn.
    """

    def __init__(self, block: Block, channels: int, out: int) -> None:
        self._patch, self._planes, self._halves, self._sums = map(torch.empty, self.lengths(block, channels, out))

    @staticmethod
    def lengths(block: Block, channels: int, out: int) -> tuple[int, int, int, int]:
        """How many values each buffer holds."""
        x, y, z = block
        plane = (STEP * y + REACH - STEP) * (STEP * z + REACH - STEP) * channels
        halves = max(2 * REACH**2 * max(channels, out), STEP**3 * out)
        return (
            (STEP * x + REACH - STEP) * plane,
            REACH * x * plane,
            halves * x * y * z,
            REACH * STEP**2 * out * x * y * z,
        )

    def patch(self, *shape: int) -> torch.Tensor:
        """For the input."""
        return self._patch[: prod(shape)].view(shape)

    def planes(self, *shape: int) -> torch.Tensor:
        """For the input, transformed along the first axis."""
        return self._planes[: prod(shape)].view(shape)

    def sums(self, *shape: int) -> torch.Tensor:
        """For the products, transformed back along two axes."""
        return self._sums[: prod(shape)].view(shape)

    def first(self, *shape: int) -> torch.Tensor:
        """The first half of the buffer, or more of it."""
        return self._halves[: prod(shape)].view(shape)

    def second(self, *shape: int) -> torch.Tensor:
        """The second half."""
        return self._halves[len(self._halves) // 2 :][: prod(shape)].view(shape)


def _share_out(compute: Callable[[Sequence[Block]], None], blocks: Sequence[Block]) -> None:
    """The blocks, in equal parts, on as many threads as PyTorch computes with: sharing out products gains little."""
    threads = torch.get_num_threads()
    if min(threads, len(blocks)) == 1:
        compute(blocks)
        return

    def without_gradients(part: Sequence[Block]) -> None:
        with torch.inference_mode():  # each thread has a mode of its own
            compute(part)

    parts = [blocks[i::threads] for i in range(min(threads, len(blocks)))]
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(without_gradients, parts))
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


def _read(values: torch.Tensor, start: Sequence[int], box: torch.Tensor) -> None:
    """Fill a float32 box with (x, y, z, C) values from ``start`` on, with zeros where it lies outside of them."""
    inside = [(max(0, a), min(n, a + k)) for a, k, n in zip(start, box.shape, values.shape[:3], strict=False)]
    there = tuple(slice(low - a, high - a) for (low, high), a in zip(inside, start, strict=True))
    if any(high - low < n for (low, high), n in zip(inside, box.shape, strict=False)):
        box.zero_()
    box[there] = values[tuple(slice(low, high) for low, high in inside)]


def _convolved(patch: torch.Tensor, kernels: torch.Tensor, tiles: Sequence[int], space: _Workspace) -> torch.Tensor:
    """(4x+2, 4y+2, 4z+2, C) → (x, 4, y, 4, z, 4, C') for x·y·z tiles, one sixth of the products after the other."""
    channels, out = kernels.shape[2:]
    number = prod(tiles)
    rows = patch.view(len(patch), -1).unfold(0, REACH, STEP).transpose(1, 2)
    planes = _along(INPUT, rows, space.planes(tiles[0], REACH, rows.shape[2]))
    sums = space.sums(REACH, STEP, STEP, number * out)
    two = number * channels
    for plane, kernel, target in zip(
        planes.view(tiles[0], REACH, *patch.shape[1:]).unbind(1), kernels, sums, strict=True
    ):
        cut = plane.unfold(1, REACH, STEP).unfold(2, REACH, STEP).permute(4, 5, 0, 1, 2, 3)
        copied = space.first(*cut.shape).copy_(cut)
        half_way = _along(INPUT, copied.view(1, REACH, -1), space.second(1, REACH, REACH * two))
        spectrum = _along(INPUT, half_way.view(REACH, REACH, two), space.first(REACH, REACH, two))
        products = space.second(REACH**2, number, out)
        torch.bmm(spectrum.view(REACH**2, number, channels), kernel, out=products)
        half_way = _along(OUTPUT, products.view(1, REACH, -1), space.first(1, STEP, REACH * number * out))
        _along(OUTPUT, half_way.view(STEP, REACH, -1), target)
    result = _along(OUTPUT, sums.view(1, REACH, -1), space.first(1, STEP, STEP**2 * number * out))
    return result.view(STEP, STEP, STEP, *tiles, out).permute(3, 0, 4, 1, 5, 2, 6)


def _along(matrix: torch.Tensor, rows: torch.Tensor, result: torch.Tensor) -> torch.Tensor:
    """``matrix`` times each of a batch: (batch, n, long) → (batch, m, long), in ``result``."""
    return torch.bmm(matrix.expand(len(rows), -1, -1), rows, out=result)


def _write(target: torch.Tensor, tiles: torch.Tensor, space: _Workspace) -> None:
    """Tiles (x, 4, y, 4, z, 4, C') into (X, Y, Z, C'), which may end before the last tile does."""
    size = [STEP * tiles.shape[axis] for axis in (0, 2, 4)]
    if list(target.shape[:3]) == size:
        target.unflatten(2, (-1, STEP)).unflatten(1, (-1, STEP)).unflatten(0, (-1, STEP)).copy_(tiles)
    else:
        ordered = space.sums(*tiles.shape).copy_(tiles).view(*size, -1)
        target.copy_(ordered[tuple(slice(n) for n in target.shape[:3])])
