"""Blocks of a Markdown page that a command writes, between two comments that name it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from SynthCTLib.errors import InputError
from training.files import write_text


def fill_block(page: Path, name: str, text: str) -> None:
    """Put ``text`` between ``<!-- name: begin -->`` and ``<!-- name: end -->``; a missing page is made of it.

    Raises:
        InputError: the page has no such block.
    """
    head, tail = around_block(page, name)
    write_text(page, f"{head}\n{text}\n{tail}")


def around_block(page: Path, name: str) -> tuple[str, str]:
    """What stands before and after the text of a block, with its comments.

    Raises:
        InputError: the page has no such block.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before = page.read_text(encoding="utf-8") if page.is_file() else f"{begin}\n{end}\n"
    head, found, rest = before.partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise InputError(f"{page} has no lines '{begin}' and '{end}'; put them where the results belong.")
    return head + begin, end + tail


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
