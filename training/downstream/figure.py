"""Scores over shares of the data: one panel per structure, one line with its interval per arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Curve:
    """``points``: share (text) → ``mean`` and ``interval_95``."""

    name: str
    panel: str
    points: dict[str, dict[str, Any]]


def write_figure(path: Path, curves: Sequence[Curve], x_label: str, y_label: str) -> None:
    """Write a PNG, atomically."""
    panels = list(dict.fromkeys(curve.panel for curve in curves))
    figure = Figure(figsize=(3.2 * len(panels), 3.6), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for panel, axis in zip(panels, axes, strict=True):
        for curve in (c for c in curves if c.panel == panel):
            shares = [100 * float(share) for share in curve.points]
            means = [point["mean"] for point in curve.points.values()]
            low, high = zip(*(point["interval_95"] for point in curve.points.values()), strict=True)
            (line,) = axis.plot(shares, means, marker="o", markersize=3, label=curve.name)
            axis.fill_between(shares, low, high, alpha=0.15, color=line.get_color(), linewidth=0)
        axis.set(title=panel, xlabel=f"{x_label}, %")
    axes[0].set_ylabel(f"{y_label}, 95 % interval")
    axes[-1].legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    figure.savefig(part, format="png", dpi=120)
    part.replace(path)
