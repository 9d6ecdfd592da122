"""Downloads that resume, are verified while they stream in, and end in a sentence when they cannot go on."""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from SynthCTLib.cards import ModelCard
from SynthCTLib.errors import ModelError
from SynthCTLib.model_files import make_folder, sha256_of
from SynthCTLib.progress import Progress
from SynthCTLib.store import DOWNLOADS, ModelStore, how_to_get
from SynthCTLib.transfer import NETWORK_ERRORS, TIMEOUT, USER_AGENT, Interrupted, Transfer, receive

WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds before each new attempt; starts over when bytes have arrived


def download(url: str, target: str | Path, sha256: str | None = None, progress: Progress | None = None) -> str:
    """Fetch ``url`` into ``target``; an earlier unfinished attempt is continued, a finished one is not repeated.

    Args:
        sha256: expected hash; None accepts what the server sends (of the length it announces).
        progress: counts megabytes; a cancel keeps what has arrived for the next attempt.

    Returns:
        SHA-256 of the file.

    Raises:
        ModelError: offline, not found, not permitted, or the content is not the expected one.
        ResourceError: the disk is too full.
    """
    target = Path(target)
    if not url.startswith(("https://", "http://")):
        raise ModelError(f"{url} is no web address; downloads begin with https://.")
    if target.is_file():
        found = sha256_of(target, progress)
        if sha256 in (None, found):
            return found
        target.unlink()
    make_folder(target.parent)
    transfer = Transfer(url, target, progress)
    transfer.take_up()
    _persist(transfer)
    found = transfer.digest.hexdigest()
    if sha256 is not None and found != sha256:
        transfer.restart()
        raise ModelError(
            f"{target.name} arrived with another SHA-256 than published, so it was discarded; try again, and if that "
            "repeats the file was changed at its source or on the way."
        )
    transfer.part.replace(target)
    transfer.notes.unlink(missing_ok=True)
    return found


def _persist(transfer: Transfer) -> None:
    """Try until the file is complete, or the server gives up for good, or nothing arrives several times in a row."""
    attempt, best = 0, transfer.received
    while True:
        try:
            receive(transfer)
            return
        except Interrupted as error:
            if transfer.received > best:
                attempt, best = 0, transfer.received
            if attempt == len(WAITS):
                raise ModelError(
                    f"The download of {transfer.target.name} broke off ({error}); run the command again to continue it."
                ) from error
            _wait(WAITS[attempt], transfer.progress)
            attempt += 1


def _wait(seconds: float, progress: Progress | None) -> None:
    """Sleep, but notice a cancel."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if progress is not None:
            progress.check()
        time.sleep(min(left, 0.2))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Hugging Face answers with the hash *and* a redirect to storage that does not know it."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def hub_hash(url: str) -> str | None:
    """SHA-256 that Hugging Face publishes for a large file (header ``X-Linked-Etag`` of the resolve URL), else None."""
    opener = urllib.request.build_opener(_NoRedirect)
    request = urllib.request.Request(url, headers=USER_AGENT, method="HEAD")
    try:
        with opener.open(request, timeout=TIMEOUT) as response:
            headers = response.headers
    except urllib.error.HTTPError as error:
        headers = error.headers
        error.close()
    except NETWORK_ERRORS:
        return None  # the download that follows says what is wrong
    found = re.fullmatch(r'(?:W/)?"?([0-9a-f]{64})"?', headers.get("X-Linked-Etag", ""))
    return found[1] if found else None


def download_model(
    card: ModelCard, store: ModelStore, accept_licence: bool, progress: Progress | None = None
) -> list[str]:
    """Download and import the parts of a model that are not there yet.

    Args:
        accept_licence: the user agrees to the card's licence; needed once, then recorded in the store.

    Returns:
        The parts that were downloaded now.

    Raises:
        ModelError: licence not accepted, nothing to download from, or as :func:`download` and the import say.
        ResourceError: the disk is too full.
    """
    if card.embedded:
        raise ModelError(f"{card.id} is part of SynthCT and needs no download; it can be used as it is.")
    if not store.licence_accepted(card):
        if not accept_licence:
            raise ModelError(
                f"{card.id} is published under the {card.licence['name']} ({card.licence['url']}); read it and run the "
                "command again with --accept-licence if you agree."
            )
        store.accept_licence(card)
    parts = store.missing_parts(card)
    for part in parts:
        source = card.files[part]["source"]
        if not (source and source["url"]):
            raise ModelError(f"The {part} of {card.id} has no download address. {how_to_get(card)}.")
        target = store.folder(card) / DOWNLOADS / source["name"]
        download(source["url"], target, source["sha256"] or hub_hash(source["url"]), progress)
        store.import_files(card, [target], progress=progress)
        target.unlink()
    downloads = store.folder(card) / DOWNLOADS
    if downloads.is_dir() and not any(downloads.iterdir()):
        downloads.rmdir()
    return parts
