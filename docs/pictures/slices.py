"""Slices of a CT with the labels over the left half of the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from SynthCTLib.labels import BACKGROUND, BODY, load_vocabulary
from SynthCTLib.preview import Plane, cut_plane

OVERLAY = 0.6  # share of the label color
MARGIN_MM = 12.0  # air kept around the body
LETTERS, CAPTION = (235, 238, 242), (255, 255, 255)


@dataclass(frozen=True)
class Result:
    """A CT in HU and its label map on one RAS grid, with the voxel size in mm."""

    hu: np.ndarray
    labels: np.ndarray
    spacing: tuple[float, float, float]

    def voxel_in(self, label_id: int) -> tuple[int, int, int]:
        """The voxel at the center of mass of a label that is in the map."""
        center = ndimage.center_of_mass(self.labels == label_id)
        return round(center[0]), round(center[1]), round(center[2])

    def cropped(self) -> Result:
        """The part around the body: labels with a margin of air."""
        box = ndimage.find_objects((self.labels != BACKGROUND).astype(np.uint8))[0]
        margins = [round(MARGIN_MM / mm) for mm in self.spacing]
        keep = tuple(
            slice(max(0, part.start - margin), part.stop + margin) for part, margin in zip(box, margins, strict=True)
        )
        return Result(self.hu[keep], self.labels[keep], self.spacing)


def slice_picture(
    result: Result, plane: Plane, voxel: tuple[int, int, int], window: tuple[str, float, float], size: tuple[int, int]
) -> Image.Image:
    """One plane through ``voxel`` as large as fits into ``size`` (width, height), centered on black."""
    name, width, level = window
    across, up = (axis for axis in range(3) if axis != plane.normal)
    hu = cut_plane(result.hu, plane, voxel).astype(np.float32)
    extent = (hu.shape[1] * result.spacing[across], hu.shape[0] * result.spacing[up])
    scale = min(size[0] / extent[0], size[1] / extent[1])
    shape = (round(extent[1] * scale), round(extent[0] * scale))
    smooth = _resized(hu, shape, order=3)
    gray = np.clip((smooth - (level - width / 2)) / width, 0.0, 1.0)[..., None] * np.full(3, 255.0)
    colored = _over(gray, _resized_labels(cut_plane(result.labels, plane, voxel), shape))
    half = shape[1] // 2
    gray[:, :half] = colored[:, :half]
    air = round(float(gray[0, -1, 0]))  # the picture's own air around it
    canvas = Image.new("RGB", size, (air, air, air))
    picture = Image.fromarray(gray.round().astype(np.uint8))
    corner = ((size[0] - picture.width) // 2, (size[1] - picture.height) // 2)
    canvas.paste(picture, corner)
    draw = ImageDraw.Draw(canvas)
    middle = corner[0] + half
    draw.line([(middle, corner[1]), (middle, corner[1] + picture.height)], fill=(150, 156, 166), width=1)
    _letters(draw, plane, size)
    caption(draw, f"{plane.name.capitalize()}, {name} window {width:.0f}/{level:.0f}")
    return canvas


def caption(draw: ImageDraw.ImageDraw, text: str) -> None:
    """Write what is seen into the upper left corner of a picture."""
    font = ImageFont.load_default(17)
    draw.text((12, 10), text, fill=CAPTION, font=font, stroke_width=2, stroke_fill=(0, 0, 0))


def _resized(array: np.ndarray, shape: tuple[int, int], order: int) -> np.ndarray:
    factors = [new / old for new, old in zip(shape, array.shape, strict=True)]
    return ndimage.zoom(array, factors, order=order, mode="nearest", grid_mode=True)


def _resized_labels(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Labels on a finer grid with smooth edges: each goes where it is the strongest after interpolation."""
    best, chosen = np.full(shape, 0.0, np.float32), np.zeros(shape, labels.dtype)
    for label in np.unique(labels):
        strength = _resized((labels == label).astype(np.float32), shape, order=1)
        chosen[strength > best] = label
        best = np.maximum(best, strength)
    return chosen


def _over(gray: np.ndarray, labels: np.ndarray) -> np.ndarray:
    colors = np.zeros((256, 3))
    for label in load_vocabulary().labels:
        colors[label.id] = label.color
    organs = ((labels != BACKGROUND) & (labels != BODY))[..., None]
    return np.where(organs, (1 - OVERLAY) * gray + OVERLAY * colors[labels.astype(np.uint8)], gray)


def _letters(draw: ImageDraw.ImageDraw, plane: Plane, size: tuple[int, int]) -> None:
    font = ImageFont.load_default(17)
    for text, place, anchor in (
        (plane.left, (10, size[1] // 2), "lm"),
        (plane.right, (size[0] - 10, size[1] // 2), "rm"),
    ):
        draw.text(place, text, fill=LETTERS, font=font, anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0))
