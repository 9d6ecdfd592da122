"""Downloads against a real server on this machine: resume, verification, and a sentence for each way to fail."""

from __future__ import annotations

import hashlib
import re
import shutil
import threading
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import SynthCTLib.download as download_module
from SynthCTLib.cards import ModelCard
from SynthCTLib.download import download, download_model, hub_hash
from SynthCTLib.errors import Cancelled, ModelError, ResourceError
from SynthCTLib.progress import Progress
from SynthCTLib.store import ModelStore
from Testing.library.model_samples import NAMES, tiny_card, write_released

CONTENT = bytes(range(256)) * 12_000  # 3 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """What the server does, and what it was asked."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=lambda: {"/file.pt": CONTENT})
    ranges: bool = True
    etag: str | None = '"v1"'
    linked: bool = False  # as Hugging Face: hash in the header of a redirect
    status: int = 200
    cuts: list[int] = field(default_factory=list)  # the next answers break off after that many bytes
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            path = self.path.removeprefix("/storage")
            content = state.files.get(path)
            asked = self.headers.get("Range", "")
            state.requests.append(f"{self.command} {self.path} {asked}".strip())
            if state.status != 200 or content is None:
                self.send_error(state.status if state.status != 200 else 404)
                return
            if state.linked and not self.path.startswith("/storage"):
                self.send_response(302)
                self.send_header("Location", f"/storage{path}")
                self.send_header("X-Linked-Etag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = 0
            found = re.match(r"bytes=(\d+)-", asked)
            if found and state.ranges and self.headers.get("If-Range") == state.etag:
                start = int(found[1])
                if start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            if state.etag:
                self.send_header("ETag", state.etag)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            if body:
                rest = content[start:]
                self.wfile.write(rest[: state.cuts.pop(0)] if state.cuts else rest)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download_module, "WAITS", (0.01, 0.01))
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    state.address = f"http://127.0.0.1:{running.server_port}"
    yield state
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "models" / "file.pt"


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def ranges(server: Server) -> list[str]:
    return [request.partition("bytes=")[2] for request in server.requests]


def interrupted(server: Server, target: Path, after: int) -> None:
    """Leave an unfinished download behind, as a user does who switches the computer off."""
    server.cuts = [after] + [0] * 10
    with pytest.raises(ModelError, match=r"broke off .*run the command again"):
        download(f"{server.address}/file.pt", target, SHA256)
    server.cuts, server.requests = [], []


def test_a_file_arrives_whole_with_its_hash_and_nothing_else(server: Server, target: Path) -> None:
    assert download(f"{server.address}/file.pt", target) == SHA256
    assert target.read_bytes() == CONTENT
    assert names_in(target.parent) == {"file.pt"}


def test_progress_counts_up_to_the_end(server: Server, target: Path) -> None:
    steps: list[tuple[int, int]] = []
    download(f"{server.address}/file.pt", target, progress=Progress(lambda event: steps.append((event.step, event.of))))
    assert steps[0] == (0, 3) and steps[-1] == (3, 3) and steps == sorted(steps)


def test_a_broken_connection_is_continued_where_it_broke(server: Server, target: Path) -> None:
    server.cuts = [1_000_000, 500_000]
    assert download(f"{server.address}/file.pt", target, SHA256) == SHA256
    assert ranges(server) == ["", "1000000-", "1500000-"]


def test_an_unfinished_download_is_continued_by_the_next_command(server: Server, target: Path) -> None:
    interrupted(server, target, 1_000_000)
    assert not target.exists()
    assert download(f"{server.address}/file.pt", target, SHA256) == SHA256
    assert ranges(server) == ["1000000-"]


def test_a_server_without_ranges_sends_all_again(server: Server, target: Path) -> None:
    server.ranges = False
    server.cuts = [1_000_000]
    assert download(f"{server.address}/file.pt", target, SHA256) == SHA256
    assert target.read_bytes() == CONTENT


def test_a_file_that_changed_on_the_server_begins_anew(server: Server, target: Path) -> None:
    interrupted(server, target, 1_000_000)
    server.etag, server.files["/file.pt"] = '"v2"', CONTENT[::-1]
    download(f"{server.address}/file.pt", target)
    assert target.read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("etag", [None, 'W/"v1"'])
def test_without_a_name_for_its_version_a_file_is_not_pieced_together(
    server: Server, target: Path, etag: str | None
) -> None:
    server.etag = etag
    server.cuts = [1_000_000]
    assert download(f"{server.address}/file.pt", target) == SHA256
    assert ranges(server) == ["", ""]


def test_a_part_that_is_already_whole_is_only_checked(server: Server, target: Path) -> None:
    interrupted(server, target, 1_000_000)
    target.with_name("file.pt.part").write_bytes(CONTENT)
    assert download(f"{server.address}/file.pt", target, SHA256) == SHA256
    assert target.read_bytes() == CONTENT


def test_a_wrong_hash_is_refused_and_nothing_kept(server: Server, target: Path) -> None:
    with pytest.raises(ModelError, match="another SHA-256"):
        download(f"{server.address}/file.pt", target, "0" * 64)
    assert names_in(target.parent) == set()


def test_a_part_damaged_on_the_disk_is_found_by_the_hash_and_the_next_attempt_works(
    server: Server, target: Path
) -> None:
    interrupted(server, target, 1_000_000)
    part = target.with_name("file.pt.part")
    part.write_bytes(b"x" + part.read_bytes()[1:])
    with pytest.raises(ModelError, match="another SHA-256"):
        download(f"{server.address}/file.pt", target, SHA256)
    assert download(f"{server.address}/file.pt", target, SHA256) == SHA256


def test_a_finished_download_is_not_repeated(server: Server, target: Path) -> None:
    download(f"{server.address}/file.pt", target, SHA256)
    server.requests.clear()
    assert download(f"{server.address}/file.pt", target, SHA256) == SHA256
    assert server.requests == []


def test_a_cancelled_download_can_be_continued(server: Server, target: Path) -> None:
    seen: list[int] = []
    progress = Progress(lambda event: seen.append(event.step), lambda: 1 in seen)
    with pytest.raises(Cancelled):
        download(f"{server.address}/file.pt", target, SHA256, progress)
    server.requests.clear()
    assert download(f"{server.address}/file.pt", target, SHA256) == SHA256
    assert int(ranges(server)[0].rstrip("-")) >= 1_000_000


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(401, "without an account"), (403, "without an account"), (404, "not at .* any more"), (451, "HTTP 451")],
)
def test_a_refusal_of_the_server_is_said_at_once(server: Server, target: Path, status: int, sentence: str) -> None:
    server.status = status
    with pytest.raises(ModelError, match=sentence):
        download(f"{server.address}/file.pt", target)
    assert len(server.requests) == 1


def test_a_server_in_trouble_is_asked_again(server: Server, target: Path) -> None:
    server.status = 503
    with pytest.raises(ModelError, match=r"broke off .*503"):
        download(f"{server.address}/file.pt", target)
    assert len(server.requests) == 3


def test_no_network_is_one_sentence_with_a_way_out(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(ModelError, match=r"127\.0\.0\.1:9 cannot be reached .*synthct models import"):
        download("http://127.0.0.1:9/file.pt", target)


def test_only_web_addresses_are_downloaded(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no web address"):
        download("file:///etc/hostname", tmp_path / "x")


def test_a_full_disk_is_noticed_before_the_download(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 2_000_000))
    with pytest.raises(ResourceError, match="free some space"):
        download(f"{server.address}/file.pt", target)
    assert not target.exists()


def test_the_hubs_own_hash_is_read_from_the_redirect(server: Server) -> None:
    assert hub_hash(f"{server.address}/file.pt") is None
    server.linked = True
    assert hub_hash(f"{server.address}/file.pt") == SHA256


@pytest.fixture
def card(server: Server, tmp_path: Path) -> ModelCard:
    """A tiny model whose released files are on the server."""
    card = tiny_card(tmp_path / "card")
    for part, path in write_released(card, tmp_path / "released").items():
        card.files[part]["source"]["url"] = f"{server.address}/{NAMES[part]}"
        server.files[f"/{NAMES[part]}"] = path.read_bytes()
    return card


def test_a_model_is_not_downloaded_before_its_licence_is_accepted(
    server: Server, card: ModelCard, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"NVIDIA Open Model License .*--accept-licence"):
        download_model(card, ModelStore(tmp_path / "store"), accept_licence=False)
    assert server.requests == []


def test_a_downloaded_model_is_imported_and_only_the_stored_files_stay(
    server: Server, card: ModelCard, tmp_path: Path
) -> None:
    server.linked = True
    store = ModelStore(tmp_path / "store")
    assert download_model(card, store, accept_licence=True) == ["autoencoder", "unet", "controlnet"]
    assert store.status(card) == "ready"
    stored = {card.files[part]["name"] for part in card.files}
    assert names_in(store.folder(card)) == stored | {"card.json", "imported.json", "licence.json"}


def test_the_next_command_downloads_what_is_missing_and_asks_for_no_licence(
    server: Server, card: ModelCard, tmp_path: Path
) -> None:
    store = ModelStore(tmp_path / "store")
    server.files.pop(f"/{NAMES['controlnet']}")
    with pytest.raises(ModelError, match=r"controlnet_tiny\.pt is not at"):
        download_model(card, store, accept_licence=True)
    assert store.status(card) == "incomplete"
    server.files[f"/{NAMES['controlnet']}"] = (tmp_path / "released" / NAMES["controlnet"]).read_bytes()
    assert download_model(card, store, accept_licence=False) == ["controlnet"]
    assert store.status(card) == "ready"


def test_a_file_that_is_not_what_the_hub_publishes_is_not_imported(
    server: Server, card: ModelCard, tmp_path: Path
) -> None:
    card.files["autoencoder"]["source"]["sha256"] = "0" * 64
    store = ModelStore(tmp_path / "store")
    with pytest.raises(ModelError, match="another SHA-256"):
        download_model(card, store, accept_licence=True)
    assert store.status(card) == "missing"


def test_remove_also_deletes_an_unfinished_download(server: Server, card: ModelCard, tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "store")
    server.cuts = [1000] + [0] * 10
    with pytest.raises(ModelError, match="broke off"):
        download_model(card, store, accept_licence=True)
    assert any(path.name.endswith(".part") for path in store.folder(card).rglob("*"))
    store.remove(card)
    assert not store.folder(card).exists()
