"""Models of the panel, through the real command of the engine in a process of its own."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from SynthCTLib.job import DEFAULT_MODEL
from SynthCTModule.EngineCommand import EngineCommand
from SynthCTModule.Models import Models
from SynthCTModule.WorkerEvents import Failure
from SynthCTModule.WorkerProcess import PopenWorkerProcess
from Testing.library.model_samples import tiny_card, write_released

RFLOW = "nv-generate-ct-rflow"


class Bench:
    """Models with a store in a folder of the test."""

    def __init__(self, process: PopenWorkerProcess, root: Path) -> None:
        self.process, self.root = process, root
        self.models = Models(EngineCommand(process))
        self.ends: list[Failure | None] = []
        self.progress: list[tuple[float, str]] = []
        self.models.finished.connect(self.ends.append)
        self.models.progressChanged.connect(lambda fraction, text: self.progress.append((fraction, text)))

    def do(self, action: Callable[[], None]) -> Failure | None:
        """Run an action to its end and the look at the store that follows."""
        action()
        began = time.monotonic()
        while self.models.busy:
            assert time.monotonic() - began < 120
            self.process.pump()
        return self.ends[-1] if self.ends else None


@pytest.fixture
def bench(process: PopenWorkerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    root = tmp_path / "Modelle für alle"
    root.mkdir()
    monkeypatch.setenv("SYNTHCT_MODELS", str(root))
    return Bench(process, root)


def test_the_embedded_model_is_known_to_be_ready_at_once(bench: Bench) -> None:
    rows = bench.models.rows()
    assert rows[0].embedded and rows[0].id == DEFAULT_MODEL
    assert {row.status for row in rows if row.embedded} == {"ready"}
    assert {row.status for row in rows if not row.embedded} == {"unknown"}


def test_the_store_tells_state_size_and_place(bench: Bench) -> None:
    assert bench.do(bench.models.refresh) is None
    row = bench.models.row(RFLOW)
    assert row is not None and row.status == "missing" and row.bytes == 0 and row.downloadable
    assert row.folder == bench.root / RFLOW and not row.licenceAccepted
    embedded = bench.models.rows()[0]
    assert embedded.bytes > 10**7
    assert bench.models.modelsFolder() == bench.root
    assert bench.models.folderToOpen(RFLOW) == bench.root, "the folder of the model does not exist yet"


def test_a_download_needs_the_licence_to_be_accepted(bench: Bench) -> None:
    text = bench.models.licenceText(RFLOW)
    assert "NVIDIA Open Model License" in text and "https://" in text and "Not for:" in text
    bench.models.download(RFLOW, licenceAccepted=False)
    (failure,) = bench.ends
    assert failure is not None and "licence" in failure.text() and not bench.models.busy
    assert not list(bench.root.iterdir())


def test_files_are_imported_verified_and_removed(bench: Bench, tmp_path: Path) -> None:
    card = tiny_card(tmp_path / "own")
    (bench.root / card.id).mkdir()
    shutil.copy(card.path, bench.root / card.id / "card.json")
    bench.do(bench.models.refresh)
    row = bench.models.row(card.id)
    assert row is not None and row.status == "missing"
    files = list(write_released(card, tmp_path / "released").values())
    assert bench.do(lambda: bench.models.importFiles(card.id, files)) is None
    row = bench.models.row(card.id)
    assert row is not None and row.status == "ready" and row.bytes > 0
    assert bench.models.folderToOpen(card.id) == bench.root / card.id
    assert bench.do(lambda: bench.models.verify(card.id)) is None
    assert bench.progress and all(0 <= fraction <= 1 for fraction, _ in bench.progress)

    stored = bench.root / card.id / card.files["unet"]["name"]
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    failure = bench.do(lambda: bench.models.verify(card.id))
    assert failure is not None and stored.name in failure.text() and "SHA-256" in failure.text()

    assert bench.do(lambda: bench.models.remove(card.id)) is None
    row = bench.models.row(card.id)
    assert row is not None and row.status == "missing"


def test_a_file_that_is_no_model_is_refused_with_a_sentence(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "photo.safetensors").write_bytes(b"no weights")
    failure = bench.do(lambda: bench.models.importFiles(RFLOW, [tmp_path / "photo.safetensors"]))
    assert failure is not None and failure.kind == "model" and "photo.safetensors" in failure.text()


def test_an_action_can_be_cancelled(bench: Bench) -> None:
    bench.models.refresh()
    bench.models.cancel()
    while bench.models.busy:
        bench.process.pump()
    assert bench.ends == [] and bench.models.rows()[0].status == "ready"


def test_the_run_that_the_bench_replays_was_recorded_with_the_default_model() -> None:
    recorded = Path(__file__).with_name("recorded")
    started = json.loads((recorded / "run.jsonl").read_text(encoding="utf-8").splitlines()[0])
    report = json.loads((recorded / "report.json").read_text(encoding="utf-8"))
    assert started["job"]["model"] == report["model"]["id"] == DEFAULT_MODEL
