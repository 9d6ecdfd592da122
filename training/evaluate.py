"""Stage *evaluate*: one scorecard for the exported model, the trivial painter or the CTs of any other generator.

Written are ``<evaluate.out>/<evaluate.name>.json``, and below ``<run>/scorecards`` the same as a page with pictures, a
blinded form for readers and its key. That of the exported model is also ``<run>/evaluation.json``, from which the
stages *export* and *card* take what the model's card says about its quality.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.config import Config
from training.files import write_json, write_text
from training.made_scans import make_scans
from training.metrics.extractors import CachedFeatures, build_extractors
from training.metrics.organ_hu import median_by_label
from training.metrics.summary import summary
from training.prepare import read_cases
from training.provenance import command, commit, data_hash
from training.reader_form import reader_form
from training.scan_files import read_folder, write_scans
from training.scans import Scan, choose_cases, real_scan, training_scans
from training.scorecard import Material, judge, without_nan
from training.scorecard_page import scorecard_page
from training.subjects import build_subject

PICTURES = 8


def evaluate(config: Config) -> None:
    """Judge ``evaluate.subject`` and write its scorecard.

    Raises:
        ValueError: an unknown subject or feature network, or a folder with unusable CTs.
    """
    c, run = config["evaluate"], Path(config["run"])
    kind = c["subject"]
    extractors = [
        CachedFeatures(e, run / "features") for e in build_extractors(c["extractors"], c["slices"], c["radimagenet"])
    ]
    real = [real_scan(config, meta) for meta in choose_cases(config, "val")]
    others = [real_scan(config, meta) for meta in choose_cases(config, "train")]
    settings: dict[str, Any] = {}
    found: dict[str, Any] = {}
    if Path(kind).is_dir():
        made, paired = read_folder(Path(kind), real)
    else:
        subject, folder = build_subject(config), run / "synthetic" / kind
        settings = {key: value for key, value in subject.settings.items() if key != "palette"}
        labeled = [
            real_scan(config, m) for m in read_cases(config["prepared"], "train") if m["case_id"] in c["labeled"]
        ]
        made, cost = make_scans(subject, real, folder)
        paired = True
        found["cost"] = cost.as_json()
        found["labeled_training_cases"] = organ_medians(labeled, make_scans(subject, labeled, folder)[0])
    material = Material(made, real, others, paired)
    scores, copies = judge(material, extractors, [s.hu for s in training_scans(config)], c, config["seed"], run)
    card = {
        "name": c["name"],
        "subject": kind,
        "n": len(made),
        "data": data_hash(config["prepared"]),
        "command": command(),
        "commit": commit(),
        "cases": [scan.name for scan in real],
        **settings,
        **scores,
        **found,
    }
    card = without_nan(card)
    write_scorecard(config, card, material)
    if c["keep"]:
        write_scans(Path(c["keep"]), [scan for scan, copied in zip(made, copies, strict=True) if not copied])
    print_scorecard(card)


def organ_medians(real: list[Scan], made: list[Scan]) -> list[dict[str, Any]]:
    """Median HU per organ, real and made, in cases with many organ labels (all seen in training)."""
    result = []
    for theirs, ours in zip(real, made, strict=True):
        if theirs.mask is None:
            continue
        truth, found = median_by_label(theirs.hu, theirs.mask), median_by_label(ours.hu, theirs.mask)
        errors = summary([abs(truth[label] - found[label]) for label in truth])
        medians = {str(label): [truth[label], found[label]] for label in truth}
        result.append({"case_id": theirs.name, "median_hu": medians, "median_error_hu": errors})
    return result


def write_scorecard(config: Config, card: dict[str, Any], material: Material) -> None:
    """JSON, page, reader form and its key."""
    c, run = config["evaluate"], Path(config["run"])
    name, pages = c["name"], run / "scorecards"
    write_json(Path(c["out"]) / f"{name}.json", card)
    if c["subject"] == "model":
        write_json(run / "evaluation.json", card)
    truth: list[Scan] | list[None] = material.real if material.paired else [None] * len(material.made)
    write_text(pages / f"{name}.html", scorecard_page(card, list(zip(material.made, truth, strict=True))[:PICTURES]))
    form, key = reader_form(material.real, material.made, c["readers"], config["seed"])
    write_text(pages / f"{name}-reader-form.html", form)
    write_json(pages / f"{name}-reader-key.json", key)
    print(f"{Path(c['out']) / name}.json, {pages / name}.html")


def print_scorecard(card: dict[str, Any]) -> None:
    """The scorecard as a short table."""
    for extractor, planes in card["frechet"].items():
        for plane, v in planes.items():
            print(f"{extractor:22}{plane:10}{v['value']:10.3f}  floor {v['floor']:8.3f}  ratio {v['ratio']:.2f}")
    for structure_name, v in card.get("following", {}).items():
        print(f"{structure_name:10} Dice {v['value']:.3f}, real {v['real']:.3f}, share {v['share']:.3f}")
    if "organ_hu_in_range" in card:
        print("organs in range: {value:.3f}, real {real:.3f}".format(**card["organ_hu_in_range"]))
    print("copies {copies:.3f}, control {control:.3f}, positive {positive_control:.3f}".format(**card["memorization"]))
