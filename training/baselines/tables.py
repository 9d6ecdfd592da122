"""The comparison as tables, written from the scorecards into the block of a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from training.page_block import fill_block, table

BLOCK = "tables of the scorecards"
PLANES = {"axial": "XY (axial)", "sagittal": "YZ (sagittal)", "coronal": "ZX (coronal)", "mean": "mean"}
TITLES = {
    "frechet_seen": "Fréchet distance to patients of the training",
    "frechet": "Fréchet distance to held-out patients",
}


def write_tables(page: Path, folder: Path, methods: list[str]) -> None:
    """Put the tables of all methods that have a scorecard in ``folder`` into the block of ``page``.

    Raises:
        InputError: the page has no such block.
    """
    cards = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (folder / f"{m}.json" for m in methods)
        if path.is_file()
    ]
    fill_block(page, BLOCK, f"\n{tables(cards)}")


def tables(cards: list[dict[str, Any]]) -> str:
    """Markdown: distances by plane for each feature network and set of patients, then all other scores."""
    parts = []
    for extractor in cards[0]["frechet"] if cards else []:
        for key, title in TITLES.items():
            parts.append(f"**{title}, {extractor}**\n\n{_distances(cards, key, extractor)}")
    return "\n".join([*parts, f"**Other scores**\n\n{_others(cards)}"])


def _distances(cards: list[dict[str, Any]], key: str, extractor: str) -> str:
    rows = [["", *PLANES.values(), "mean ÷ floor"]]
    found = {card["name"]: card[key][extractor] for card in cards}
    real = [f"{next(iter(found.values()))[plane]['floor']:.1f}" for plane in PLANES]
    rows.append(["real (floor)", *real, "1"])
    for name, planes in found.items():
        rows.append([name, *(f"{planes[plane]['value']:.1f}" for plane in PLANES), f"{planes['mean']['ratio']:.2f}"])
    return table(rows[0], rows[1:]) + "\n"


def _others(cards: list[dict[str, Any]]) -> str:
    head = [
        "", "MS-SSIM gap", "slice coherence gap", "spectrum gap, decades", "copies (control)", "seconds per CT",
        "peak memory, MB", "training, core minutes", "steps",
    ]  # fmt: skip
    rows = [head]
    for card in cards:
        coherence = [plane["gap"] for plane in card["coherence"].values()]
        memorization, phases = card["memorization"], card["training"].values()
        rows.append(
            [
                card["name"],
                f"{card['ms_ssim']['gap']:+.3f}",
                f"{sum(coherence) / len(coherence):.3f}",
                f"{card['spectrum']['gap']:.2f}",
                f"{memorization['copies']:.0%} ({memorization['control']:.0%})",
                f"{card['cost']['seconds']['mean']:.1f}",
                f"{card['cost']['peak_memory_mb']}",
                f"{sum(phase['seconds'] for phase in phases) / 60:.1f}",
                " + ".join(str(phase["steps"]) for phase in phases),
            ]
        )
    return table(rows[0], rows[1:]) + "\n"
