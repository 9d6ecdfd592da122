"""Pictures to look at: the same slices of several volumes side by side."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from training.metrics.canonical import body_box

TITLE = 14
GRAYS = (-250.0, 350.0)
"""HU of black and white: a soft-tissue window wide enough to show bone."""


def to_gray(plane: np.ndarray, low: float = GRAYS[0], high: float = GRAYS[1]) -> np.ndarray:
    """HU plane (rows, columns) → uint8, ``low`` black and ``high`` white."""
    return (np.clip((plane.astype(np.float32) - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def plane_picture(hu: np.ndarray, spacing: Sequence[float], axis: int, position: int) -> Image.Image:
    """One slice across an axis, a pixel per mm, head or front up."""
    plane = to_gray(np.take(hu, position, axis)).T[::-1]
    width_mm, height_mm = [s for a, s in enumerate(spacing) if a != axis]
    size = (round(plane.shape[1] * width_mm), round(plane.shape[0] * height_mm))
    return Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC)


def beside_each_other(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures from left to right, tops aligned."""
    sheet = Image.new("L", (sum(p.width for p in pictures), max(p.height for p in pictures)))
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width
    return sheet


def axial_row(hu: np.ndarray, spacing: Sequence[float], count: int) -> Image.Image:
    """Neighboring axial slices from the middle of the body, cut to it, at half size."""
    body = hu[body_box(hu)]
    first = max(0, (body.shape[2] - count) // 2)
    slices = [plane_picture(body, spacing, 2, z) for z in range(first, min(first + count, body.shape[2]))]
    return beside_each_other([p.resize((p.width // 2, p.height // 2)) for p in slices])


def comparison_picture(volumes: dict[str, np.ndarray], spacing: Sequence[float]) -> Image.Image:
    """Axial, coronal and sagittal slice through the middle of the first volume's body for each volume, in columns.

    The columns have the names of the volumes as titles; an empty name leaves no room for one.
    """
    middle = [(part.start + part.stop) // 2 for part in body_box(next(iter(volumes.values())))]
    columns = []
    for name, volume in volumes.items():
        rows = [plane_picture(volume, spacing, axis, middle[axis]) for axis in (2, 1, 0)]
        top = TITLE if name else 0
        column = Image.new("L", (max(r.width for r in rows), sum(r.height for r in rows) + top))
        ImageDraw.Draw(column).text((2, 1), name, fill=255)
        for row in rows:
            column.paste(row, (0, top))
            top += row.height
        columns.append(column)
    return beside_each_other(columns)


def data_url(picture: Image.Image) -> str:
    """The picture as PNG inside a URL, for pages in one file."""
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
