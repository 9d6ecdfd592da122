"""The result of a quiz as a CSV file that spreadsheet programs open without executing anything in it."""

from __future__ import annotations

import csv
import io
import secrets
from collections.abc import Sequence
from pathlib import Path

from SynthCTLib.errors import ResourceError
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.quiz import Answer, Quiz

COLUMNS = ("case", "student", "number", "kind", "structure", "answer", "expected", "result")
# A cell that begins with one of these is a formula to Excel, LibreOffice or Google Sheets.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def write_quiz_csv(path: Path, quiz: Quiz, case: str, student: str = "") -> None:
    """Write one row for each answered question and a last one with the score; UTF-8 with a mark, as Excel needs it.

    The file appears complete or not at all. Raises ResourceError when it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for number, answer in enumerate(quiz.answers, start=1):
        writer.writerow(safe_cells([case, student, str(number), *_cells(answer)]))
    right, asked = quiz.score
    writer.writerow(safe_cells([case, student, "", "score", "", f"{right} of {asked}", str(len(quiz.questions)), ""]))
    path = Path(path)
    part = path.with_name(f".{path.name}-{secrets.token_hex(4)}.part")
    try:
        part.write_text(text.getvalue(), encoding="utf-8-sig", newline="")
        part.replace(path)
    except OSError as error:
        raise ResourceError(f"'{path}' cannot be written ({error}); close programs that use it and retry.") from error
    finally:
        part.unlink(missing_ok=True)


def safe_cells(cells: Sequence[str]) -> list[str]:
    """Cells that no spreadsheet program takes for formulas: those that could be get an apostrophe in front."""
    return [f"'{cell}" if cell.lstrip(" ").startswith(_FORMULA_STARTS) else cell for cell in cells]


def _cells(answer: Answer) -> list[str]:
    result = "skipped" if answer.skipped else "right" if answer.correct else "wrong"
    structure = load_vocabulary().by_id(answer.question.label).display_name
    return [answer.question.kind, structure, answer.given, answer.expected, result]
