"""How a volume is cut for the seamless decoder: the fastest way whose memory fits.

Predicted peak, in bytes, of a sweep from kept features s to features g:

    peak = S(s) + K·S(g) + kernels + max over the layers of one tile (in + copy + out).

All terms count the features and what waits to be added to them (main and skip). S: of the whole volume; in S(g) without
those that lie in memory of s; K: 1 if g is kept. ``kernels``: what Winograd's method keeps from tile to tile. ``copy``:
a padded or converted copy of the input, where a layer makes one, or what else a convolution needs for itself
(``convolution.scratch``). A single tile is the whole volume; S is 0 then, and counting the skip on both sides of a
layer covers the input that a sweep holds. Weights are left out: they are in memory anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import prod

import torch

from SynthCTLib.autoencoder_layers import (
    Box,
    Convolve,
    Fork,
    Join,
    Normalize,
    Shrink,
    Size,
    Step,
    TransposedConvolve,
)
from SynthCTLib.convolution import in_float32, kept, scratch
from SynthCTLib.seamless import Cut, barriers, borrows, boxes_along, sizes_along

SIDES = (96, 64, 48, 32, 24, 16, 12, 8)
"""Longest sides of tiles that are tried, in voxels of the coarsest grid."""

HARDLY_MORE = 1.05
"""Work beside the least that is worth a smaller peak."""

SMALL = 5 * 10**8
"""Bytes below which a volume is not cut at all if it fits."""

POINTWISE_WORK = 60
"""Multiplications per value that a layer without a kernel is worth: it waits for memory instead."""


@dataclass(frozen=True)
class Plan:
    """``cut``: tiles; ``kept``: stored features by layer number; ``peak``: bytes; ``work``: multiplications."""

    cut: Cut
    kept: tuple[int, ...]
    peak: int
    work: int


@dataclass(frozen=True)
class Features:
    """Channels in front of a layer and bytes per value."""

    main: int
    skip: int
    value: int

    def bytes(self, size: Size) -> int:
        """Main and skip on a grid of ``size``."""
        return prod(size) * (self.main + self.skip) * self.value


def features_along(layers: Sequence[Step], channels: int, dtype: torch.dtype) -> list[Features]:
    """What lies in front of each layer, and behind the last."""
    found = [Features(channels, 0, dtype.itemsize)]
    for layer in layers:
        main, skip, value = found[-1].main, found[-1].skip, found[-1].value
        if isinstance(layer, Convolve | Shrink):
            main, value = layer.weight.shape[0], layer.weight.dtype.itemsize
        elif isinstance(layer, TransposedConvolve):
            main, value = layer.weight.shape[1], layer.weight.dtype.itemsize
        elif isinstance(layer, Normalize):
            value = layer.dtype.itemsize
        elif isinstance(layer, Fork):
            skip = main if layer.shortcut is None else layer.shortcut.weight.shape[0]
        elif isinstance(layer, Join):
            skip = 0
        found.append(Features(main, skip, value))
    return found


@dataclass(frozen=True)
class Sweep:
    """Cost of computing features ``goal`` of all tiles from kept features ``start``, without storing them."""

    peak: int
    work: int


class Costs:
    """Memory and work of sweeps through a chain, for one size and cut."""

    def __init__(self, layers: Sequence[Step], size: Size, channels: int, dtype: torch.dtype, cut: Cut) -> None:
        self.layers, self.cut = layers, cut
        self.sizes = sizes_along(layers, size)
        self.features = features_along(layers, channels, dtype)
        self.single = cut.number == 1

    def stored(self, goal: int) -> int:
        """Bytes of features of the whole volume."""
        return self.features[goal].bytes(self.sizes[goal])

    def added(self, start: int, goal: int) -> int:
        """Bytes that storing ``goal`` takes while ``start`` is stored."""
        borrowed = borrows(self.layers, start, goal)
        part = getattr(self.features[goal], borrowed) if borrowed else 0
        return self.stored(goal) - prod(self.sizes[goal]) * part * self.features[goal].value

    def sweep(self, start: int, goal: int) -> Sweep:
        """From one place in the chain to a later one."""
        boxes = boxes_along(self.layers, self.sizes, start, goal, middle_box(self.sizes[goal], self.cut))
        spans = [tuple(b - a for a, b in box) for box in boxes]
        tile, kernels, work = self.features[start].bytes(spans[0]), 0, 0
        for i, inside, outside in zip(range(start, goal), spans, spans[1:], strict=False):
            here = self.features[i].bytes(inside) + _copy(
                self.layers[i], self.features[i], inside, outside, self.single
            )
            kernels += _kernels(self.layers[i], outside)
            tile = max(tile, here + self.features[i + 1].bytes(outside))
            work += self.cut.number * _work(self.layers[i], self.features[i], outside)
        return Sweep(kernels + tile + (0 if self.single else self.stored(start)), work)


def make_plan(layers: Sequence[Step], size: Size, channels: int, dtype: torch.dtype, budget: int) -> Plan:
    """A plan whose peak is at most ``budget`` bytes: the smallest peak that costs hardly more than the least work.

    If none fits, the one with the smallest peak of all.
    """
    whole = plan_for_cut(layers, size, channels, dtype, Cut((1, 1, 1)), budget)
    if whole.peak <= min(budget, SMALL):
        return whole
    coarsest = tuple(min(axis) for axis in zip(*sizes_along(layers, size), strict=True))
    cuts = [Cut(tuple(-(-n // side) for n in coarsest)) for side in SIDES if side < max(coarsest)]
    plans = [whole, *(plan_for_cut(layers, size, channels, dtype, cut, budget) for cut in cuts)]
    fitting = [plan for plan in plans if plan.peak <= budget]
    least = min((plan.work for plan in fitting), default=0)
    return min(
        [plan for plan in fitting if plan.work <= HARDLY_MORE * least] or plans, key=lambda plan: (plan.peak, plan.work)
    )


def plan_for_cut(layers: Sequence[Step], size: Size, channels: int, dtype: torch.dtype, cut: Cut, budget: int) -> Plan:
    """The best choice of kept features for one cut: the shortest path over barriers, by work, within the budget.

    Nothing is kept if no choice fits; a single tile keeps everything.
    """
    costs = Costs(layers, size, channels, dtype, cut)
    places = [0, *barriers(layers), len(layers)]
    if costs.single:
        steps = [costs.sweep(s, g) for s, g in pairwise(places)]
        return Plan(cut, (), max(s.peak for s in steps), sum(s.work for s in steps))
    table = {(s, g): costs.sweep(s, g) for s, g in combinations(places, 2)}
    best: dict[int, Plan] = {0: Plan(cut, (), 0, 0)}
    for goal in places[1:]:
        for start in places[: places.index(goal)]:
            if start not in best:
                continue
            on_the_way = [table[start, g] for g in places if start < g <= goal]
            peak = max(best[start].peak, *(s.peak for s in on_the_way), on_the_way[-1].peak + costs.added(start, goal))
            work = best[start].work + sum(s.work for s in on_the_way)
            kept = (*best[start].kept, start) if start else ()
            if peak <= budget and (goal not in best or work < best[goal].work):
                best[goal] = Plan(cut, kept, peak, work)
    if len(layers) in best:
        return best[len(layers)]
    from_input = [table[0, g] for g in places[1:]]
    peak = max(*(s.peak for s in from_input), from_input[-1].peak + costs.stored(len(layers)))
    return Plan(cut, (), peak, sum(s.work for s in from_input))


def middle_box(size: Size, cut: Cut) -> Box:
    """A tile in the middle of a grid, as large as any."""
    sides = [-(-n // count) for n, count in zip(size, cut.counts, strict=True)]
    return tuple(((n - k) // 2, (n - k) // 2 + k) for n, k in zip(size, sides, strict=True))


def _kernels(layer: Step, out: Size) -> int:
    """Bytes of what a convolution keeps from tile to tile."""
    return kept(layer.weight, out) if isinstance(layer, Convolve) else 0


def _copy(layer: Step, features: Features, size: Size, out: Size, single: bool) -> int:
    """Bytes of a temporary copy of the layer's main input: padded, converted, or made contiguous from a view."""
    if isinstance(layer, Normalize):
        return prod(size) * features.main * layer.dtype.itemsize if layer.dtype.itemsize != features.value else 0
    if isinstance(layer, Convolve) and (own := scratch(layer.weight, out)) is not None:
        return own
    if isinstance(layer, Shrink | TransposedConvolve) and in_float32(layer.weight):
        return 4 * (prod(size) * features.main + prod(out) * max(layer.weight.shape[:2]))
    if isinstance(layer, Shrink) or (isinstance(layer, Convolve) and not single):
        return prod(size) * features.main * features.value
    return 0


def _work(layer: Step, features: Features, out: Size) -> int:
    if isinstance(layer, Convolve | Shrink):
        return prod(out) * layer.weight.numel()
    if isinstance(layer, TransposedConvolve):
        return prod(out) * layer.weight.numel() // 8
    pointwise = prod(out) * features.main * POINTWISE_WORK
    if isinstance(layer, Fork) and layer.shortcut is not None:
        return pointwise + prod(out) * layer.shortcut.weight.numel()
    return 0 if isinstance(layer, Fork) else pointwise
