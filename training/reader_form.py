"""A blinded form for readers: real and made images in random order, graded A to D in three categories.

Categories and grades are those of Khader et al., Scientific Reports 2023, table 1. Which image is which is in a
separate key, so that whoever grades cannot see it in the page's source.
"""

from __future__ import annotations

import html

import numpy as np

from training.pictures import axial_row, comparison_picture, data_url
from training.scans import Scan

CATEGORIES = {
    "Realistic image appearance": (
        "Overall not recognizable as {noun}",
        "Overall unrealistic, but generally recognizable as {noun}",
        "Overall realistic and only minor unrealistic areas",
        "Can't tell whether fake or not",
    ),
    "Consistency between slices": (
        "No consistent slices",
        "Only few (up to 3) slices are consistent",
        "Majority of slices (> 10) are consistent",
        "All slices are consistent",
    ),
    "Anatomic correctness": (
        "Anatomic region not recognizable",
        "Anatomic region recognizable, but major parts exhibit anatomic incorrectness",
        "Only minor anatomic incorrectness",
        "Anatomic features are correct",
    ),
}
AXIAL_SLICES = 12

STYLE = "body{font-family:sans-serif;max-width:70em;margin:auto}img{max-width:100%;background:#000}label{display:block}"
SAVE = """
document.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const answers = JSON.stringify(Object.fromEntries(new FormData(event.target)), null, 2);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([answers], {type: "application/json"}));
  link.download = "grades.json";
  link.click();
});
"""


def reader_form(
    real: list[Scan], made: list[Scan], number: int, seed: int, noun: str = "CT"
) -> tuple[str, dict[str, dict[str, str]]]:
    """(page with up to ``number`` real and as many made images, key: number in the page → case and kind).

    ``noun`` says what they are.
    """
    rng = np.random.default_rng(seed)
    number = min(number, len(real), len(made))
    shown = [("real", real[i]) for i in rng.permutation(len(real))[:number]]
    shown += [("made", made[i]) for i in rng.permutation(len(made))[:number]]
    order = rng.permutation(len(shown))
    key = {str(n): {"kind": shown[i][0], "name": shown[i][1].name} for n, i in enumerate(order, start=1)}
    entries = "".join(_entry(n, shown[i][1], noun) for n, i in enumerate(order, start=1))
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Reader form</title><style>{STYLE}</style>'
        f"<h1>Real or made by a computer?</h1><p>Some of these {noun}s are of patients, some are synthetic. Please "
        "grade each of them; the button at the end saves your grades as a file.</p>"
        '<form><p><label>Reader <input name="reader" required></label></p>'
        f"{entries}<p><button>Save grades</button></p></form><script>{SAVE}</script></html>\n"
    )
    return page, key


def _entry(number: int, scan: Scan, noun: str) -> str:
    planes = data_url(comparison_picture({"": scan.hu}, scan.spacing))
    row = data_url(axial_row(scan.hu, scan.spacing, AXIAL_SLICES))
    questions = "".join(_question(number, title, grades, noun) for title, grades in CATEGORIES.items())
    pictures = f'<img alt="three planes" src="{planes}"> <img alt="neighboring axial slices" src="{row}">'
    return f"<section><h2>{noun} {number}</h2>{pictures}{questions}</section>"


def _question(number: int, title: str, grades: tuple[str, ...], noun: str) -> str:
    options = "".join(
        f'<label><input type="radio" required name="{number} {html.escape(title)}" value="{letter}"> '
        f"{letter}: {html.escape(text.format(noun=noun))}</label>"
        for letter, text in zip("ABCD", grades, strict=True)
    )
    return f"<fieldset><legend>{html.escape(title)}</legend>{options}</fieldset>"
