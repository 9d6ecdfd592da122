"""The module's pieces are imported as in Slicer, from the folder of SynthCT.py; processes are started by a launcher."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "SynthCT"))

from SynthCTModule.WorkerProcess import PopenWorkerProcess  # noqa: E402 (needs the path)


@pytest.fixture
def process() -> Iterator[PopenWorkerProcess]:
    """A process that is started as Slicer starts it: a launcher whose child is Python."""
    started = PopenWorkerProcess([sys.executable, str(Path(__file__).with_name("launcher.py"))])
    yield started
    started.kill()
