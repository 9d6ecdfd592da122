"""``synthct labels`` and ``synthct cases``."""

from __future__ import annotations

import argparse
from typing import Any

from SynthCTLib.cases import list_cases
from SynthCTLib.cli.show import show
from SynthCTLib.events import Emit
from SynthCTLib.labels import Label, load_vocabulary


def add_commands(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add both commands."""
    command = commands.add_parser("labels", parents=[common], help="list the labels, or search them")
    command.add_argument("search", nargs="*", metavar="TEXT", help="an id, or the beginning of words of a name")
    command.set_defaults(run=run_labels)
    command = commands.add_parser("cases", parents=[common], help="list the bundled segmentations")
    command.set_defaults(run=run_cases)


def run_labels(options: argparse.Namespace, emit: Emit) -> None:
    """List all labels in use, or those that fit. Raises InputError, which names similar ones, when none does."""
    labels = find_labels(" ".join(options.search))
    rows = [{"id": label.id, "name": label.name, "display_name": label.display_name, "group": label.group,
             "side": label.side, "regions": list(label.regions), "lesion": label.lesion,
             "hu": [label.hu_low, label.hu_high], "totalsegmentator": label.totalsegmentator_name,
             "aliases": list(label.aliases)} for label in labels]  # fmt: skip
    show(options, emit, "labels", rows, [f"{label.id:>4}  {label.name:<36}  {label.group}" for label in labels])


def run_cases(options: argparse.Namespace, emit: Emit) -> None:
    """List the bundled cases with their licence."""
    cases = list_cases()
    lines = []
    for case in cases:
        lines += [f"{case.id}: {case.title}", f"    {case.description}", f"    {case.source}, {case.licence['name']}"]
        lines += [f"    {case.path}"]
    show(options, emit, "cases", [case.to_json() for case in cases], lines)


def find_labels(text: str) -> list[Label]:
    """Labels by id or by the beginning of words; all in use for an empty text."""
    vocabulary = load_vocabulary()
    if text.isdecimal():
        return [vocabulary.by_id(int(text))]
    found = [label for label in vocabulary.search(text) if not label.dummy]
    if not found:
        return [vocabulary.find(text)]
    return found if text else sorted(found, key=lambda label: label.id)
