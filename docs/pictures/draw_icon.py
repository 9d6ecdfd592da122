"""Draw the module's icon: an axial slice of a chest, the left half as a label map, the right half as a CT.

Run from the repository root: ``python docs/pictures/draw_icon.py``
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from SynthCTLib.labels import load_vocabulary

ROOT = Path(__file__).resolve().parents[2]
ICON = ROOT / "SynthCT" / "Resources" / "Icons" / "SynthCT.png"
PIXELS = 128
FINE = 8  # shapes are drawn this much larger, for smooth edges
BACKDROP = (22, 26, 34)
DIVIDER = (255, 255, 255)

Box = tuple[float, float, float, float]
Points = Sequence[tuple[float, float]]
RIGHT_LUNG: Points = [(0.45, 0.25), (0.28, 0.20), (0.14, 0.34), (0.11, 0.56), (0.23, 0.73), (0.39, 0.67), (0.43, 0.47)]
LEFT_LUNG: Points = [(0.57, 0.25), (0.73, 0.20), (0.86, 0.34), (0.89, 0.56), (0.77, 0.73), (0.61, 0.67), (0.71, 0.47)]
# What is seen, from back to front: label name, gray value of a CT in a wide window, outline in units of the icon.
# A box is an ellipse; a list of points is a smooth closed curve.
SHAPES: tuple[tuple[str, int, Box | Points], ...] = (
    ("body", 78, (0.03, 0.11, 0.97, 0.89)),
    ("right autochthon", 140, (0.06, 0.15, 0.94, 0.85)),
    ("right lung upper lobe", 14, RIGHT_LUNG),
    ("right lung lower lobe", 14, [(0.42, 0.49), (0.29, 0.47), (0.17, 0.52), (0.12, 0.57), (0.23, 0.73), (0.39, 0.67)]),
    ("left lung upper lobe", 14, LEFT_LUNG),
    ("pulmonary vein", 120, (0.80, 0.43, 0.83, 0.46)),
    ("pulmonary vein", 120, (0.75, 0.52, 0.78, 0.56)),
    ("pulmonary vein", 120, (0.71, 0.62, 0.74, 0.65)),
    ("heart", 182, [(0.41, 0.27), (0.55, 0.21), (0.70, 0.33), (0.73, 0.47), (0.60, 0.53), (0.45, 0.51), (0.37, 0.40)]),
    ("vertebrae T8", 232, (0.40, 0.60, 0.60, 0.76)),
    ("vertebrae T8", 232, [(0.45, 0.74), (0.55, 0.74), (0.53, 0.82), (0.50, 0.86), (0.47, 0.82)]),
    ("aorta", 206, (0.60, 0.55, 0.68, 0.64)),
    ("spinal cord", 120, (0.46, 0.72, 0.54, 0.79)),
)
RIB = "right rib 7"
RIB_GRAY = 236
RIB_RADII, RIB_THICKNESS = (0.405, 0.315), 0.038
RIB_ANGLES = (28, 62, 118, 152, 200, 232, 308, 340)  # degrees along the chest wall, clockwise from the right


def main() -> None:
    """Write the icon beside the module."""
    colored, gray = _picture(in_color=True), _picture(in_color=False)
    size = PIXELS * FINE
    gray.paste(colored, (0, 0), _mask_of_left_half(size))
    ImageDraw.Draw(gray).line([(size // 2, 0.1 * size), (size // 2, 0.9 * size)], fill=DIVIDER, width=FINE)
    small = gray.resize((PIXELS, PIXELS), Image.Resampling.LANCZOS)
    small.putalpha(_rounded(size).resize((PIXELS, PIXELS), Image.Resampling.LANCZOS))
    ICON.parent.mkdir(parents=True, exist_ok=True)
    small.save(ICON, optimize=True)


def _picture(*, in_color: bool) -> Image.Image:
    """The whole slice, in the colors of the label table or in gray values with the grain of a CT."""
    size = PIXELS * FINE
    picture = Image.new("RGB", (size, size), BACKDROP)
    draw = ImageDraw.Draw(picture)
    vocabulary = load_vocabulary()
    for name, gray, outline in SHAPES:
        _fill(draw, outline, vocabulary.find(name).color if in_color else (gray,) * 3, size)
    _ribs(draw, vocabulary.find(RIB).color if in_color else (RIB_GRAY,) * 3, size)
    return picture if in_color else _with_grain(picture)


def _fill(draw: ImageDraw.ImageDraw, outline: Box | Points, color: tuple[int, ...], size: int) -> None:
    if isinstance(outline, tuple):
        draw.ellipse([value * size for value in outline], fill=color)
    else:
        draw.polygon([(x * size, y * size) for x, y in _smooth(outline)], fill=color)


def _smooth(points: Points) -> Points:
    """Closed curve through the points (Catmull-Rom spline)."""
    p = np.asarray(points, float)
    before, after, later = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
    t = np.linspace(0, 1, 24, endpoint=False)[None, :, None]
    before, p, after, later = (q[:, None, :] for q in (before, p, after, later))
    bend = 2 * before - 5 * p + 4 * after - later + t * (3 * (p - after) + later - before)
    curve = p + 0.5 * t * (after - before + t * bend)
    return [(float(x), float(y)) for x, y in curve.reshape(-1, 2)]


def _ribs(draw: ImageDraw.ImageDraw, color: tuple[int, ...], size: int) -> None:
    for angle in RIB_ANGLES:
        for step in np.radians(np.linspace(angle - 7, angle + 7, 40)):
            x, y = 0.5 + RIB_RADII[0] * np.cos(step), 0.5 + RIB_RADII[1] * np.sin(step)
            draw.circle((x * size, y * size), RIB_THICKNESS / 2 * size, fill=color)


def _with_grain(picture: Image.Image) -> Image.Image:
    grain = np.random.default_rng(1).normal(0, 1, (PIXELS // 2, PIXELS // 2))
    coarse = Image.fromarray(grain.astype(np.float32)).resize(picture.size, Image.Resampling.BICUBIC)
    soft = np.asarray(picture.filter(ImageFilter.GaussianBlur(FINE * 0.7)), np.float32)
    inside = soft.mean(axis=2, keepdims=True) > 50
    return Image.fromarray(np.clip(soft + inside * 9 * np.asarray(coarse)[..., None], 0, 255).astype(np.uint8))


def _mask_of_left_half(size: int) -> Image.Image:
    mask = Image.new("L", (size, size), 0)
    ImageDraw.Draw(mask).rectangle([0, 0, size // 2, size], fill=255)
    return mask


def _rounded(size: int) -> Image.Image:
    mask = Image.new("L", (size, size), 0)
    ImageDraw.Draw(mask).rounded_rectangle([0, 0, size - 1, size - 1], radius=0.16 * size, fill=255)
    return mask


if __name__ == "__main__":
    main()
