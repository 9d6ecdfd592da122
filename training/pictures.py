"""Pictures to look at: the same slices of several volumes side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def to_gray(plane: np.ndarray, low: float = -250, high: float = 350) -> np.ndarray:
    """HU plane (rows, columns) → uint8 in a soft-tissue window wide enough to show bone."""
    return (np.clip((plane.astype(np.float32) - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def comparison_picture(path: Path, volumes: dict[str, np.ndarray], mask: np.ndarray, spacing: np.ndarray) -> None:
    """Axial, coronal and sagittal slice through the body's middle for each volume, one column each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    middle = [int(np.median(axis)) for axis in np.nonzero(mask)]
    columns = []
    for name, volume in volumes.items():
        rows = []
        for axis in (2, 1, 0):
            plane = to_gray(np.take(volume, middle[axis], axis)).T[::-1]
            width_mm, height_mm = [s for a, s in enumerate(spacing) if a != axis]
            size = (round(plane.shape[1] * width_mm), round(plane.shape[0] * height_mm))
            rows.append(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC))
        column = Image.new("L", (max(r.width for r in rows), sum(r.height for r in rows) + 14))
        ImageDraw.Draw(column).text((2, 1), name, fill=255)
        top = 14
        for row in rows:
            column.paste(row, (0, top))
            top += row.height
        columns.append(column)
    sheet = Image.new("L", (sum(c.width for c in columns), columns[0].height))
    left = 0
    for column in columns:
        sheet.paste(column, (left, 0))
        left += column.width
    sheet.save(path)
