"""Preview: one PNG with three planes of the CT and of the label map over it.

Radiological view: the patient's right is at the left of axial and coronal pictures. All pictures share one scale in
pixels per millimeter, so that nothing is stretched.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from SynthCTLib.geometry import to_ras
from SynthCTLib.labels import BACKGROUND, BODY, load_vocabulary
from SynthCTLib.output import DISCLAIMER
from SynthCTLib.slabs import count_ids, id_profiles
from SynthCTLib.volume import Volume

# Window width and level in HU, as in every reading room.
SOFT_TISSUE = ("soft tissue", 400.0, 40.0)
LUNG = ("lung", 1500.0, -600.0)
TILE_PIXELS = 320  # longest side of the largest picture
OVERLAY = 0.55  # share of the label color in the overlay
GAP, HEADER, CAPTION, FOOTER = 10, 34, 16, 26
BACKDROP, TEXT, DIM = (16, 18, 22), (235, 238, 242), (160, 168, 178)


@dataclass(frozen=True)
class Plane:
    """A cut through a RAS volume: the array axis it is normal to, what lies at its edges, its letters."""

    name: str
    normal: int
    left: str
    right: str
    top: str
    bottom: str


PLANES = (
    Plane("axial", 2, "R", "L", "A", "P"),
    Plane("coronal", 1, "R", "L", "S", "I"),
    Plane("sagittal", 0, "A", "P", "S", "I"),
)


def write_preview(path: Path, hu: Volume, labels: Volume, title: str) -> None:
    """Write the preview of a CT and its label map as PNG.

    Args:
        path: target, ``.png``.
        hu: (X, Y, Z) HU in any orientation. labels: MAISI ids on the same grid.
        title: shown above the pictures; the disclaimer is shown below and stored in the file.

    Raises:
        ValueError: when the two volumes have different shapes.
    """
    if hu.shape != labels.shape:
        raise ValueError(f"CT {hu.shape} and labels {labels.shape} must have the same shape.")
    hu, labels = to_ras(hu), to_ras(labels)
    cuts = center_of_labels(labels.array)
    scale = TILE_PIXELS / max(n * mm for n, mm in zip(hu.shape, hu.spacing, strict=True))
    lobes = list(load_vocabulary().group_ids("lung"))
    windows = [SOFT_TISSUE] + ([LUNG] if count_ids(labels.array)[lobes].any() else [])
    rows = []
    for name, width, level in windows:
        tiles = [_gray(hu, plane, cuts, scale, width, level) for plane in PLANES]
        rows.append((f"CT, {name} {width:.0f}/{level:.0f}", tiles))
    overlays = [_overlay(base, labels, plane, cuts) for base, plane in zip(rows[0][1], PLANES, strict=True)]
    rows.append(("labels over the CT", overlays))
    info = PngInfo()
    info.add_text("Description", f"{DISCLAIMER}. {title}")
    _compose(rows, title).save(path, pnginfo=info)


def write_plain_preview(path: Path, volume: Volume, window: tuple[str, float, float], title: str) -> None:
    """Write the preview of a volume that has no label map: its middle planes in one ``window`` (name, width, level)."""
    volume = to_ras(volume)
    scale = TILE_PIXELS / max(n * mm for n, mm in zip(volume.shape, volume.spacing, strict=True))
    x, y, z = (n // 2 for n in volume.shape)
    name, width, level = window
    tiles = [_gray(volume, plane, (x, y, z), scale, width, level) for plane in PLANES]
    info = PngInfo()
    info.add_text("Description", f"{DISCLAIMER}. {title}")
    _compose([(f"{name} {width:.0f}/{level:.0f}", tiles)], title).save(path, pnginfo=info)


def center_of_labels(labels: np.ndarray) -> tuple[int, int, int]:
    """Voxel at the center of all organ voxels of a (X, Y, Z) label map, the middle of the grid where there are none."""
    center = []
    for profile in id_profiles(labels):
        profile[:, [BACKGROUND, BODY]] = 0
        organs = profile.sum(axis=1)
        total = int(organs.sum())
        center.append(round(float(organs @ np.arange(len(organs))) / total) if total else len(organs) // 2)
    return center[0], center[1], center[2]


def cut_plane(array: np.ndarray, plane: Plane, cuts: tuple[int, int, int]) -> np.ndarray:
    """(height, width) picture of ``plane`` from a RAS array: top row first, in radiological view."""
    cut = np.take(array, cuts[plane.normal], axis=plane.normal)
    # Both remaining axes point away from the picture's left and top: right → left, anterior → left, superior → top.
    return cut.T[::-1, ::-1]


def _gray(
    hu: Volume, plane: Plane, cuts: tuple[int, int, int], scale: float, width: float, level: float
) -> Image.Image:
    cut = cut_plane(hu.array, plane, cuts).astype(np.float32)
    gray = np.clip((cut - (level - width / 2)) / width, 0.0, 1.0)
    picture = Image.fromarray((gray * 255).round().astype(np.uint8))
    across, up = (axis for axis in range(3) if axis != plane.normal)
    size = (cut.shape[1] * hu.spacing[across] * scale, cut.shape[0] * hu.spacing[up] * scale)
    return picture.resize((max(1, round(size[0])), max(1, round(size[1]))), Image.Resampling.BICUBIC).convert("RGB")


def _overlay(base: Image.Image, labels: Volume, plane: Plane, cuts: tuple[int, int, int]) -> Image.Image:
    colors = np.zeros((256, 3), np.uint8)
    for label in load_vocabulary().labels:
        colors[label.id] = label.color
    cut = cut_plane(labels.array, plane, cuts)
    tint = Image.fromarray(colors[cut.astype(np.uint8)]).resize(base.size, Image.Resampling.NEAREST)
    organs = ((cut != BACKGROUND) & (cut != BODY)).astype(np.uint8) * round(255 * OVERLAY)
    return Image.composite(tint, base, Image.fromarray(organs).resize(base.size, Image.Resampling.NEAREST))


def _compose(rows: list[tuple[str, list[Image.Image]]], title: str) -> Image.Image:
    """Pictures in rows and columns, letters at their edges, title above, disclaimer below."""
    widths = [max(tiles[column].width for _, tiles in rows) for column in range(len(PLANES))]
    heights = [max(tile.height for tile in tiles) for _, tiles in rows]
    total = (sum(widths) + GAP * (len(widths) + 1), HEADER + sum(heights) + (CAPTION + GAP) * len(rows) + FOOTER)
    canvas = Image.new("RGB", total, BACKDROP)
    draw = ImageDraw.Draw(canvas)
    draw.text((GAP, 9), title, fill=TEXT, font=ImageFont.load_default(15))
    y = HEADER
    for (name, tiles), height in zip(rows, heights, strict=True):
        x = GAP
        for plane, tile, width in zip(PLANES, tiles, widths, strict=True):
            left, top = x + (width - tile.width) // 2, y + (height - tile.height) // 2
            canvas.paste(tile, (left, top))
            _letters(draw, (left, top, tile.width, tile.height), plane)
            draw.text((x, y + height + 2), f"{plane.name}, {name}", fill=DIM, font=ImageFont.load_default(12))
            x += width + GAP
        y += height + CAPTION + GAP
    draw.text((GAP, total[1] - FOOTER), DISCLAIMER, fill=DIM, font=ImageFont.load_default(13))
    return canvas


def _letters(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], plane: Plane) -> None:
    x, y, width, height = box
    font = ImageFont.load_default(14)
    for text, place, anchor in (
        (plane.left, (x + 4, y + height // 2), "lm"),
        (plane.right, (x + width - 4, y + height // 2), "rm"),
        (plane.top, (x + width // 2, y + 3), "mt"),
        (plane.bottom, (x + width // 2, y + height - 4), "mb"),
    ):
        draw.text(place, text, fill=TEXT, font=font, anchor=anchor, stroke_width=1, stroke_fill=(0, 0, 0))
