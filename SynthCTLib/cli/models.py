"""``synthct models list | show | import | download | verify | remove``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SynthCTLib.cards import ModelCard, invalid_cards, list_cards, load_card
from SynthCTLib.cli.show import readable, show
from SynthCTLib.errors import ModelError
from SynthCTLib.events import Emit, finding_event, progress_event
from SynthCTLib.findings import Finding
from SynthCTLib.progress import Progress

if TYPE_CHECKING:
    from SynthCTLib.store import ModelStore


def add_commands(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add ``models`` and its commands."""
    models = commands.add_parser("models", help="models: which there are, import, download, verify, remove")
    actions = models.add_subparsers(dest="action", required=True, metavar="ACTION")
    command = actions.add_parser("list", parents=[common], help="all models and their state")
    command.set_defaults(run=run_list)
    command = actions.add_parser("import", parents=[common], help="take in checkpoint files as they were released")
    command.add_argument("--card", required=True, metavar="ID", help="the model that the files belong to")
    command.add_argument("files", nargs="+", type=Path, metavar="FILE", help=".pt or .safetensors")
    command.add_argument("--half", action="store_true", help="store in half precision (half the disk space)")
    command.set_defaults(run=run_import)
    for name, function, text in (
        ("show", run_show, "one model: licence, sources, uses, measured quality, files"),
        ("download", run_download, "fetch a model from where it is published"),
        ("verify", run_verify, "compare the files of a model with their SHA-256"),
        ("remove", run_remove, "delete the files of a model"),
    ):
        command = actions.add_parser(name, parents=[common], help=text)
        command.add_argument("id", metavar="ID")
        command.set_defaults(run=function)
        if name == "download":
            command.add_argument("--accept-licence", action="store_true", help="agree to its licence unasked")


def run_list(options: argparse.Namespace, emit: Emit) -> None:
    """All models, with their state in the store; a card there that is not valid is a warning."""
    store = open_store()
    for error in invalid_cards(store).values():
        emit(finding_event(Finding("warning", "invalid-card", str(error))))
    rows = [describe(card, store) for card in list_cards(store)]
    lines = [f"{row['id']:<24} {row['status']:<11} {row['licence']['name']:<36} {row['title']}" for row in rows]
    show(options, emit, "models", rows, [*lines, f"Folder of imported models: {store.root}"])


def run_show(options: argparse.Namespace, emit: Emit) -> None:
    """One model card in words."""
    store = open_store()
    card = load_card(options.id, store)
    lines = [f"{card.title} ({card.id}), {store.status(card)} in {store.folder(card)}"]
    commercial = "allowed" if card.licence["commercial"] else "not allowed"
    lines += [f"Licence: {card.licence['name']}, commercial use {commercial}, {card.licence['url']}"]
    lines += [f"Meant for: {use}" for use in card.intended_use] + [f"Not for: {use}" for use in card.excluded_use]
    lines += [f"Trained on: {source['name']}, {source['licence']}" for source in card.sources]
    lines += [f"{part}: {store.file(card, part).name}" for part in card.parts]
    lines += readable("Measured quality", card.quality) if card.quality else []
    lines += [f"Cite: {citation}" for citation in card.citation]
    show(options, emit, "model", {**describe(card, store), "card": card.to_json()}, lines)


def run_import(options: argparse.Namespace, emit: Emit) -> None:
    """Import files into the store."""
    store = open_store()
    card = load_card(options.card, store)
    store.import_files(card, options.files, half=options.half, progress=_progress(emit))
    _show_state(options, emit, card, store)


def run_download(options: argparse.Namespace, emit: Emit) -> None:
    """Download a model; the licence is asked for once, on a terminal."""
    from SynthCTLib.download import download_model  # here, since only this command needs it

    store = open_store()
    card = load_card(options.id, store)
    accept = options.accept_licence
    if not (accept or card.embedded or store.licence_accepted(card)) and sys.stdin.isatty() and not options.json:
        accept = ask_licence(card)
    download_model(card, store, accept, _progress(emit))
    _show_state(options, emit, card, store)


def run_verify(options: argparse.Namespace, emit: Emit) -> None:
    """Compare hashes. Raises ModelError when something is wrong."""
    store = open_store()
    card = load_card(options.id, store)
    findings = store.verify(card, _progress(emit))
    for finding in findings:
        emit(finding_event(finding))
    if findings:
        raise ModelError(f"{card.id} is not as it should be ({len(findings)} findings above).")
    show(options, emit, "model", describe(card, store), [f"{card.id}: all files are as they should be."])


def run_remove(options: argparse.Namespace, emit: Emit) -> None:
    """Delete the files of a model."""
    store = open_store()
    card = load_card(options.id, store)
    removed = [str(path) for path in store.remove(card)]
    show(options, emit, "removed", removed, [f"Removed: {path}" for path in removed] or [f"{card.id} has no files."])


def ask_licence(card: ModelCard) -> bool:
    """Ask on the terminal whether the user agrees to the licence of a model."""
    print(f"{card.title} is published under: {card.licence['name']}\n{card.licence['url']}", file=sys.stderr)
    print("Do you accept this licence? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def describe(card: ModelCard, store: ModelStore) -> dict[str, Any]:
    """What ``list`` tells about a model."""
    return {
        "id": card.id,
        "title": card.title,
        "family": card.family,
        "embedded": card.embedded,
        "status": store.status(card),
        "folder": str(store.folder(card)),
        "licence": card.licence,
        "licence_accepted": card.embedded or store.licence_accepted(card),
        "downloadable": all(card.files[part]["source"] and card.files[part]["source"]["url"] for part in card.parts),
        "bytes": sum(store.file(card, part).stat().st_size for part in card.parts if store.file(card, part).is_file()),
    }


def open_store() -> ModelStore:
    """The store in its default place."""
    from SynthCTLib.store import ModelStore  # here, since only these commands need it

    return ModelStore()


def _progress(emit: Emit) -> Progress:
    return Progress(lambda step: emit(progress_event(step)))


def _show_state(options: argparse.Namespace, emit: Emit, card: ModelCard, store: ModelStore) -> None:
    missing = ", ".join(store.missing_parts(card))
    line = f"{card.id} is {store.status(card)} in {store.folder(card)}"
    show(options, emit, "model", describe(card, store), [f"{line}; still missing: {missing}" if missing else line])
