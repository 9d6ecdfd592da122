"""The scorecard as a page in one file: tables, curves and pictures."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from training.pictures import comparison_picture, data_url
from training.scans import Scan

Curve = list[float | None]

STYLE = (
    "body{font-family:sans-serif;max-width:70em;margin:auto}td,th{padding:.2em .8em;text-align:right}"
    "td:first-child,th:first-child{text-align:left}tr:nth-child(even){background:#eee}"
    "img{max-width:100%;background:#000}figure{display:inline-block;margin:.5em}svg{background:#f6f6f6}"
)
SKIPPED = ("profile", "real_profile", "cycles_per_mm", "log10_power", "real_log10_power")  # drawn as curves


def scorecard_page(card: dict[str, Any], pairs: Sequence[tuple[Scan, Scan | None]]) -> str:
    """HTML of a scorecard with pictures of (made CT, real CT of the same case or None)."""
    facts = {key: value for key, value in card.items() if not isinstance(value, dict | list)}
    parts = [f"<h1>Scorecard: {html.escape(card['name'])}</h1>", _table(facts)]
    for extractor, planes in card["frechet"].items():
        parts += [f"<h2>Fréchet distance to real CT, {html.escape(extractor)}</h2>", _table(planes)]
    for title, key in SECTIONS.items():
        if key in card:
            parts += [f"<h2>{title}</h2>", _table(card[key])]
    for plane, found in card["coherence"].items():
        parts.append(_figure(f"likeness of neighboring slices, {plane}", found["profile"], found["real_profile"]))
    spectrum = card["spectrum"]
    parts.append(_figure("power spectrum, log10", spectrum["log10_power"], spectrum["real_log10_power"]))
    parts.append("<h2>Pictures</h2>")
    parts += [_picture(made, real) for made, real in pairs]
    title = html.escape(card["name"])
    head = f'<meta charset="utf-8"><title>Scorecard {title}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en">{head}{"".join(parts)}</html>\n'


SECTIONS = {
    "Organs with a median HU in range": "organ_hu_in_range",
    "Dice with the mask, found again by HU": "following",
    "Copies of training cases": "memorization",
    "Precision, recall and coverage, a volume being one point": "spread",
    "Fréchet distance of features of whole volumes": "frechet_3d",
    "Milliliters of body, bone and air": "volumes_ml",
    "Variety: MS-SSIM of pairs": "ms_ssim",
    "Coherence: SSIM of neighboring slices": "coherence",
    "Power spectrum": "spectrum",
    "Cost of a volume": "cost",
}


def _table(value: dict[str, Any]) -> str:
    """Rows are keys; where all values of a row are a dictionary again, its keys are the columns."""
    plain = {key: v for key, v in value.items() if key not in SKIPPED and not isinstance(v, dict)}
    nested = {key: v for key, v in value.items() if isinstance(v, dict)}
    rows = [f"<tr><td>{html.escape(key)}</td><td>{_text(v)}</td></tr>" for key, v in plain.items()]
    tables = [f"<table>{''.join(rows)}</table>"] if rows else []
    if nested and all(isinstance(v, dict) for inner in nested.values() for v in inner.values()):
        return "".join([*tables, *(_table(inner) for inner in nested.values())])
    if nested:
        columns = list(dict.fromkeys(k for inner in nested.values() for k in inner if k not in SKIPPED))
        head = "".join(f"<th>{html.escape(c)}</th>" for c in ("", *columns))
        lines = [
            f"<tr><td>{html.escape(key)}</td>{''.join(f'<td>{_text(inner.get(c))}</td>' for c in columns)}</tr>"
            for key, inner in nested.items()
        ]
        tables.append(f"<table><tr>{head}</tr>{''.join(lines)}</table>")
    return "".join(tables)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return "–".join(_text(v) for v in value)
    return "" if value is None else html.escape(str(value))


def _figure(title: str, made: Curve, real: Curve) -> str:
    """Two curves: the made CTs solid, the real ones dashed."""
    known = [v for v in (*made, *real) if v is not None]
    low, high = min(known), max(known)

    def line(values: Curve, dashes: str) -> str:
        points = [
            f"{280 * i / (len(values) - 1) + 10:.1f},{110 - 100 * (v - low) / ((high - low) or 1):.1f}"
            for i, v in enumerate(values)
            if v is not None
        ]
        return f'<polyline fill="none" stroke="#136" stroke-dasharray="{dashes}" points="{" ".join(points)}"/>'

    curves = line(made, "") + line(real, "4 3")
    caption = f"{html.escape(title)}: made (line), real (dashes), {low:.3g} to {high:.3g}"
    return f'<figure><svg width="300" height="120">{curves}</svg><figcaption>{caption}</figcaption></figure>'


def _picture(made: Scan, real: Scan | None) -> str:
    volumes = {"made": made.hu} if real is None else {"real": real.hu, "made": made.hu}
    name, source = html.escape(made.name), data_url(comparison_picture(volumes, made.spacing))
    return f'<figure><img alt="{name}" src="{source}"><figcaption>{name}</figcaption></figure>'
