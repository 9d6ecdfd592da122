"""Render a result of SynthCT as one picture: three planes with the labels over one half, and two 3D views.

From the repository root, after ``python bootstrap.py demo``::

    python -m docs.pictures.render_result demo docs/images/result.png

``demo`` may be any folder that ``synthct generate`` has written. VTK is needed; it comes with the tools for the tests.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from docs.pictures.slices import Result, caption, slice_picture
from docs.pictures.surfaces import organs_picture, volume_picture
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.output import DISCLAIMER
from SynthCTLib.preview import LUNG, PLANES, SOFT_TISSUE, center_of_labels

BACKDROP, TEXT, DIM = (14, 17, 22), (240, 243, 247), (168, 176, 187)
TILE, TALL = (400, 400), (520, 400)  # slices, 3D views
GAP, HEADER, FOOTER = 8, 52, 40
NATURE = f"{DISCLAIMER}. A rendering by VTK, not a screenshot of 3D Slicer."


def main(arguments: list[str]) -> int:
    """Render the result in the folder ``arguments[0]`` as the PNG ``arguments[1]``."""
    if len(arguments) != 2:
        print("Usage: python -m docs.pictures.render_result RESULT_FOLDER PICTURE.png", file=sys.stderr)
        return 2
    folder, target = Path(arguments[0]), Path(arguments[1])
    result = read_result(folder).cropped()
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    target.parent.mkdir(parents=True, exist_ok=True)
    info = PngInfo()
    info.add_text("Description", f"{NATURE} {report['model']['title']}, seed {report['seed']}.")
    picture(result).save(target, optimize=True, pnginfo=info)
    return 0


def read_result(folder: Path) -> Result:
    """CT and label map of a result folder, turned to RAS."""
    hu, labels = (nib.as_closest_canonical(nib.load(folder / name)) for name in ("ct.nii.gz", "mask.nii.gz"))
    spacing = tuple(float(mm) for mm in hu.header.get_zooms())
    return Result(np.asarray(hu.dataobj, np.float32), np.asarray(labels.dataobj).astype(np.int16), spacing)


def picture(result: Result) -> Image.Image:
    """The whole picture, with a title and with what it is and is not."""
    columns = 3 * (TILE[0] + GAP) + GAP + TALL[0] + GAP
    canvas = Image.new("RGB", (columns, HEADER + 2 * (TILE[1] + GAP) + FOOTER), BACKDROP)
    soft, lung = _places(result)
    for row, (window, voxel) in enumerate(((SOFT_TISSUE, soft), (LUNG, lung))):
        y = HEADER + row * (TILE[1] + GAP)
        for column, plane in enumerate(PLANES):
            canvas.paste(slice_picture(result, plane, voxel, window, TILE), (GAP + column * (TILE[0] + GAP), y))
    for row, (text, make) in enumerate(
        (
            ("Label map, 3D: what was given", organs_picture),
            ("Synthetic CT, volume rendering: what was made", volume_picture),
        )
    ):
        view = make(result, TALL)
        caption(ImageDraw.Draw(view), text)
        canvas.paste(view, (GAP + 3 * (TILE[0] + GAP), HEADER + row * (TILE[1] + GAP)))
    _words(canvas)
    return canvas


def _places(result: Result) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Where to cut: soft tissue through the liver and the midline, lungs through the left lung and the heart."""
    middle = center_of_labels(result.labels)
    liver, heart, lung = (_center(result, name, middle) for name in ("liver", "heart", "left lung lower lobe"))
    return (middle[0], liver[1], liver[2]), (lung[0], heart[1], heart[2])


def _center(result: Result, name: str, middle: tuple[int, int, int]) -> tuple[int, int, int]:
    label = load_vocabulary().find(name).id
    return result.voxel_in(label) if (result.labels == label).any() else middle


def _words(canvas: Image.Image) -> None:
    draw = ImageDraw.Draw(canvas)
    title = (
        "A segmentation becomes a CT: labels on the left half of each slice, the synthetic CT alone on the right half"
    )
    draw.text((GAP + 4, 14), title, fill=TEXT, font=ImageFont.load_default(22))
    draw.text((GAP + 4, canvas.height - FOOTER + 8), NATURE, fill=TEXT, font=ImageFont.load_default(19))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
