"""Runs a chain of layers over a volume in tiles, with the result of the whole volume.

Group normalization needs the mean and the variance of a whole volume's features before the first voxel can be
normalized. So each normalization is a barrier: a *sweep* over all tiles computes the features in front of it and sums
up their moments; then the next sweep can pass it. A sweep starts from the last features that were *kept* (stored for
the whole volume). Keeping costs memory, not keeping costs computing them again in the next sweep: :mod:`memory_plan`
decides. With a single tile everything is kept and nothing is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from itertools import pairwise, product
from math import prod

import torch

from SynthCTLib.autoencoder_layers import Box, Convolve, Fork, Join, Normalize, Size, State, Step

Statistics = dict[int, tuple[torch.Tensor, torch.Tensor]]
"""Mean and variance per channel, float32, by the number of the layer that normalizes with them."""

VOXELS = {"cpu": 1 << 14, "mps": 1 << 16, "cuda": 1 << 21}
"""Of how many voxels features are summed at once in float32, by device; the sums of these pieces are float64.

A CPU sums one voxel after the other, so that rounding grows with the piece; a GPU takes longer to launch small pieces
than to compute them.
"""


@dataclass(frozen=True)
class Cut:
    """Into how many tiles each axis is cut; the same for every grid of the chain."""

    counts: Size

    def boxes(self, size: Size) -> Iterator[Box]:
        """Boxes that together cover a grid of ``size`` once; sides differ by one voxel at most."""
        axes = []
        for n, count in zip(size, self.counts, strict=True):
            borders = [round(i * n / count) for i in range(count + 1)]
            axes.append([pair for pair in pairwise(borders) if pair[0] < pair[1]])
        yield from product(*axes)

    @property
    def number(self) -> int:
        """How many tiles there are."""
        return prod(self.counts)


def sizes_along(layers: Sequence[Step], size: Size) -> list[Size]:
    """Size of the features in front of each layer, and behind the last."""
    sizes = [tuple(size)]
    for layer in layers:
        sizes.append(layer.size(sizes[-1]))
    return sizes


def barriers(layers: Sequence[Step]) -> dict[int, int]:
    """{place: normalization}: layer numbers; features in front of ``place`` are what the normalization needs.

    The place is in front of a residual block's Fork, where nothing is waiting to be added yet.
    """
    return {
        i - 1 if i and isinstance(layers[i - 1], Fork) else i: i
        for i, layer in enumerate(layers)
        if isinstance(layer, Normalize)
    }


def borrows(layers: Sequence[Step], start: int, goal: int) -> str:
    """Which of the stored features at ``goal`` can lie in memory of those stored at ``start``: skip, main or none ("").

    From the entrance of a residual block to its second normalization, the skip is the block's input itself. From there
    to the end of the block, the sum can be written over the skip, of which each voxel is needed once.
    """
    first, *between = layers[start:goal]
    if isinstance(first, Fork) and first.shortcut is None and all(isinstance(x, Normalize | Convolve) for x in between):
        return "skip"
    inside = isinstance(first, Normalize) and not (start and isinstance(layers[start - 1], Fork))
    if inside and between and isinstance(between[-1], Join):
        return "main" if all(isinstance(x, Normalize | Convolve) for x in between[:-1]) else ""
    return ""


@torch.inference_mode()
def run_seamless(
    layers: list[Step],
    x: torch.Tensor,
    cut: Cut,
    kept: Collection[int] = (),
    after_tile: Callable[[int, int], None] = lambda done, of: None,
) -> torch.Tensor:
    """The chain's output for a whole volume.

    Args:
        layers: of one device. With CUDA, float32 layers compute in float32, not in TF32.
        x: (1, C, x, y, z) as the first layer takes it; kept unchanged.
        cut: into which tiles.
        kept: places (see :func:`barriers`) whose features are stored, so that later sweeps start there.
        after_tile: told (tiles done, tiles in all) over all sweeps; may raise to stop.

    Returns:
        (1, C', x', y', z'), in the number format of the last layer. It equals what one tile gives but for rounding.
    """
    with _without_tf32(x.device):
        return _run(layers, x, cut, kept, after_tile)


@contextmanager
def _without_tf32(device: torch.device) -> Iterator[None]:
    """TF32 has the 10 bits of half precision: too few where float32 was chosen on purpose."""
    allowed = torch.backends.cudnn.allow_tf32
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        if device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = allowed


def _run(
    layers: list[Step],
    x: torch.Tensor,
    cut: Cut,
    kept: Collection[int],
    after_tile: Callable[[int, int], None],
) -> torch.Tensor:
    sizes = sizes_along(layers, tuple(x.shape[2:]))
    places = barriers(layers)
    goals = [*places, len(layers)]
    source, start = State(x.contiguous(memory_format=torch.channels_last_3d)), 0
    statistics: Statistics = {}
    single, done, of = cut.number == 1, 0, cut.number * len(goals)
    for goal in goals:
        last = goal == len(layers)
        keep = last or single or goal in kept
        moments, store = Moments(), Store(sizes[goal], single)
        if keep and not single:
            store.borrow(source, borrows(layers, start, goal))
        own = [copy(layer) for layer in layers]  # so that what a layer keeps for the next tile ends with the sweep
        for box in cut.boxes(sizes[goal]):
            state = _compute(own, sizes, statistics, source, start, goal, box)
            if not last:
                moments.add(state.main)
            if keep:
                store.write(state, box)
            del state
            done += 1
            after_tile(done, of)
        if not last:
            norm = layers[places[goal]]
            assert isinstance(norm, Normalize)
            statistics[places[goal]] = moments.by_group(norm.groups)
        if keep:
            source, start = store.state(), goal
        del store, own
    return source.main


def boxes_along(layers: Sequence[Step], sizes: Sequence[Size], start: int, goal: int, box: Box) -> list[Box]:
    """What ``box`` in front of layer ``goal`` needs: boxes in front of layers ``start`` … ``goal``, itself last."""
    boxes = [box]
    for i in range(goal - 1, start - 1, -1):
        boxes.append(layers[i].needs(boxes[-1], sizes[i]))
    return boxes[::-1]


def _compute(
    layers: list[Step], sizes: list[Size], statistics: Statistics, source: State, start: int, goal: int, box: Box
) -> State:
    """Features in front of layer ``goal`` in ``box``, from those in front of layer ``start``."""
    first, *targets = boxes_along(layers, sizes, start, goal, box)
    state = source.crop(tuple((0, n) for n in sizes[start]), first)
    for i, target in zip(range(start, goal), targets, strict=True):
        layer = layers[i]
        state = (
            layer.normalized(state, *statistics[i])
            if isinstance(layer, Normalize)
            else layer.run(state, target, sizes[i])
        )
    return state


class Store:
    """Features of a whole volume, filled tile by tile."""

    def __init__(self, size: Size, single: bool) -> None:
        self._size, self._single = size, single
        self._main: torch.Tensor | None = None
        self._skip: torch.Tensor | None = None
        self._borrowed_skip = False

    def borrow(self, source: State, what: str) -> None:
        """Use memory of features that are stored already, as :func:`borrows` says; "main" overwrites them."""
        if what == "skip":
            self._skip, self._borrowed_skip = source.main, True
        if what == "main":
            self._main = source.skip

    def write(self, state: State, box: Box) -> None:
        """Put a tile in its place; a single one is taken as it is."""
        if self._single:
            self._main, self._skip = state.main, state.skip
            return
        self._main = self._put(self._main, state.main, box)
        if state.skip is not None and not self._borrowed_skip:
            self._skip = self._put(self._skip, state.skip, box)

    def state(self) -> State:
        """All of it."""
        assert self._main is not None
        return State(self._main, self._skip)

    def _put(self, whole: torch.Tensor | None, tile: torch.Tensor, box: Box) -> torch.Tensor:
        if whole is None:
            size = (1, tile.shape[1], *self._size)
            whole = torch.empty(size, dtype=tile.dtype, device=tile.device, memory_format=torch.channels_last_3d)
        whole[(slice(None), slice(None), *(slice(a, b) for a, b in box))] = tile
        return whole


def channel_moments(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and biased variance over the rows of (voxels, C), summed up in float32.

    On the CPU by what batch normalization learns its statistics with: it reads half precision as it is, ten times
    faster than a copy in float32 that is summed.
    """
    if values.device.type != "cpu":
        variance, mean = torch.var_mean(values.float(), 0, correction=0)
        return mean, variance
    running = torch.zeros(2, values.shape[1])
    found: tuple[torch.Tensor, torch.Tensor] = torch.ops.aten.batch_norm_update_stats(values, *running, 0.0)
    return found


class Moments:
    """Mean and sum of squared deviations of a feature map per channel, over tiles (Chan, Golub & LeVeque, 1983)."""

    def __init__(self) -> None:
        self._count = 0
        self._mean = torch.zeros(1, dtype=torch.float64)
        self._squares = torch.zeros(1, dtype=torch.float64)
        self._device = torch.device("cpu")

    def add(self, x: torch.Tensor) -> None:
        """Add a tile (1, C, x, y, z). Float32 within pieces, float64 across them: exact enough for any volume."""
        self._device = x.device
        values = x.permute(0, 2, 3, 4, 1).reshape(-1, x.shape[1])  # no copy where channels come last
        for piece in values.split(VOXELS[x.device.type]):
            mean, variance = channel_moments(piece)
            self._merge(len(piece), mean, variance * len(piece))

    def _merge(self, count: int, mean: torch.Tensor, squares: torch.Tensor) -> None:
        if self._device.type == "mps":  # has no float64
            mean, squares = mean.cpu(), squares.cpu()
        self._mean, self._squares = self._mean.to(mean.device), self._squares.to(mean.device)
        total = self._count + count
        off = mean.double() - self._mean
        self._mean = self._mean + off * (count / total)
        self._squares = self._squares + squares.double() + off**2 * (self._count * count / total)
        self._count = total

    def by_group(self, groups: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and biased variance of each group (Wu & He, arXiv 1803.08494, equation 1), repeated for its channels."""
        mean, variance = self._mean.view(groups, -1), (self._squares / self._count).view(groups, -1)
        group_mean = mean.mean(1, keepdim=True)
        group_variance = (variance + (mean - group_mean) ** 2).mean(1, keepdim=True)
        size = mean.shape[1]
        expanded = torch.cat([group_mean, group_variance], 1).T.repeat_interleave(size, 1)
        return tuple(expanded.float().to(self._device))
