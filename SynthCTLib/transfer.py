"""One file on its way from a web server to the disk: requests, answers, and what has arrived so far.

An unfinished download is ``<name>.part`` with ``<name>.part.json`` beside it, which remembers what the server called
this version of the file (ETag or date). The server is asked to continue only if it still has that version (RFC 9110,
``Range`` with ``If-Range``); otherwise the download begins anew.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from SynthCTLib.errors import ModelError, ResourceError
from SynthCTLib.model_files import BLOCK, MEGABYTE, read_json, require_space, write_json
from SynthCTLib.progress import Progress

TIMEOUT = 30.0
READ = MEGABYTE // 4
USER_AGENT = {"User-Agent": "SynthCT", "Accept-Encoding": "identity"}
NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, OSError)


class Interrupted(Exception):
    """The connection broke; trying again may help."""


@dataclass
class Transfer:
    """One download: where it goes, what has arrived, and the hash of that."""

    url: str
    target: Path
    progress: Progress | None
    received: int = 0
    total: int | None = None
    digest: Any = field(default_factory=hashlib.sha256)

    @property
    def part(self) -> Path:
        return self.target.with_name(self.target.name + ".part")

    @property
    def notes(self) -> Path:
        return self.target.with_name(self.target.name + ".part.json")

    def restart(self) -> None:
        """Forget what has arrived."""
        self.part.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)
        self.received, self.digest = 0, hashlib.sha256()

    def take_up(self) -> None:
        """Continue an unfinished download if it is known which version of which file it is a part of."""
        notes = read_json(self.notes)
        if not (self.part.is_file() and notes.get("version") and notes.get("url") == self.url):
            self.restart()
            return
        with self.part.open("rb") as file:
            while block := file.read(BLOCK):
                self.digest.update(block)
                self.received += len(block)

    def report(self) -> None:
        """Tell the listener how far it is."""
        if self.progress is not None:
            total = max(self.total or self.received, 1)
            self.progress.step(f"download {self.target.name}", self.received // MEGABYTE, max(total // MEGABYTE, 1))


def receive(transfer: Transfer) -> None:
    """One request: ask for what is missing and append it to the part file."""
    headers = dict(USER_AGENT)
    version = read_json(transfer.notes).get("version")
    if transfer.received and version:
        headers |= {"Range": f"bytes={transfer.received}-", "If-Range": version}
    try:
        response = urllib.request.urlopen(urllib.request.Request(transfer.url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        _answer(error, transfer)
        return
    except NETWORK_ERRORS as error:
        raise _unreachable(error, transfer) from error
    with response:
        _prepare(response, transfer)
        _append(response, transfer)
    if transfer.total is not None and transfer.received != transfer.total:
        raise Interrupted(f"{transfer.received} of {transfer.total} bytes arrived")


def _unreachable(error: Exception, transfer: Transfer) -> Exception:
    reason = getattr(error, "reason", None) or error
    if transfer.received:
        return Interrupted(str(reason))
    host = re.sub(r"^https?://([^/]+).*", r"\1", transfer.url)
    return ModelError(
        f"{host} cannot be reached ({reason}); check the network or proxy, or get {transfer.target.name} on another "
        "computer and use 'synthct models import'."
    )


def _answer(error: urllib.error.HTTPError, transfer: Transfer) -> None:
    """Turn an HTTP status into a new attempt or a sentence."""
    name = transfer.target.name
    if error.code == 416:  # nothing after what we have: either all of it arrived, or the file has become shorter
        size = re.search(r"/(\d+)$", error.headers.get("Content-Range", ""))
        if size and int(size[1]) == transfer.received:
            return
        transfer.restart()
        raise Interrupted("the file has changed on the server")
    if error.code in (408, 425, 429) or error.code >= 500:
        raise Interrupted(f"the server answered {error.code}")
    if error.code in (401, 403):
        raise ModelError(
            f"The server does not give {name} without an account ({error.code}); accept its terms at {transfer.url}, "
            "save the file with a browser and use 'synthct models import'."
        )
    if error.code in (404, 410):
        raise ModelError(
            f"{name} is not at {transfer.url} any more ({error.code}); look for it on the publisher's page and use "
            "'synthct models import'."
        )
    raise ModelError(f"The server refused to send {name} (HTTP {error.code}); try again later.")


def _prepare(response: http.client.HTTPResponse, transfer: Transfer) -> None:
    """Find out whether this is the rest or the whole, how long it is, and whether it fits on the disk."""
    if response.status == 206:
        span = re.match(r"bytes (\d+)-\d+/(\d+)$", response.headers.get("Content-Range", ""))
        if span is None or int(span[1]) != transfer.received:
            transfer.restart()
            raise Interrupted("the server sent another part of the file than asked for")
        transfer.total = int(span[2])
    else:
        transfer.restart()
        length = response.headers.get("Content-Length")
        transfer.total = int(length) if length and length.isdecimal() else None
        etag = response.headers.get("ETag", "")
        # A weak ETag does not promise equal bytes, so it cannot be continued from.
        version = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
        write_json(transfer.notes, {"url": transfer.url, "version": version})
    require_space(transfer.target.parent, (transfer.total or 0) - transfer.received)
    transfer.report()


def _append(response: http.client.HTTPResponse, transfer: Transfer) -> None:
    with transfer.part.open("ab") as file:
        while block := _guarded(lambda: response.read(READ)):
            try:
                file.write(block)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    raise ResourceError(
                        f"The disk is full at {transfer.target.parent}; free some space and run the command again."
                    ) from error
                raise
            transfer.digest.update(block)
            transfer.received += len(block)
            transfer.report()


def _guarded(read: Callable[[], bytes]) -> bytes:
    """Read a block; a broken connection becomes a reason to try again."""
    try:
        return read()
    except (http.client.HTTPException, OSError) as error:
        raise Interrupted(str(error) or type(error).__name__) from error
