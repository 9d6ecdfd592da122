"""A launcher and its descendants end together, with the package psutil and without it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from SynthCTModule import ProcessTree as trees
from SynthCTModule.ProcessTree import ProcessTree

LAUNCHER = Path(__file__).with_name("launcher.py")
SLEEP = "import time; time.sleep(600)"
CHILD = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', '{SLEEP}']); {SLEEP}"


@pytest.fixture
def launcher() -> Iterator[subprocess.Popen[bytes]]:
    """A launcher with a child that has a child; all are ended after the test."""
    started = subprocess.Popen([sys.executable, str(LAUNCHER), "-c", CHILD])
    family = [psutil.Process(started.pid)]
    while len(family) < 3:
        family = [family[0], *family[0].children(recursive=True)]
        time.sleep(0.02)
    started.family = family  # type: ignore[attr-defined]
    yield started
    for member in family:
        if member.is_running():
            member.kill()
    started.wait()


def alive(launcher: subprocess.Popen[bytes]) -> list[psutil.Process]:
    family: list[psutil.Process] = launcher.family  # type: ignore[attr-defined]
    return [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("installed", [True, False])
def test_all_descendants_end_at_once(
    launcher: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    if not installed:
        monkeypatch.setattr(trees, "_psutil", lambda: None)
    began = time.monotonic()
    ProcessTree(launcher.pid).kill()
    assert not alive(launcher) and time.monotonic() - began < 1.0


@pytest.mark.skipif(os.name == "nt", reason="Windows forgets the family of a process that has ended")
@pytest.mark.parametrize("installed", [True, False])
def test_descendants_that_were_seen_end_although_their_launcher_has_gone(
    launcher: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    if not installed:
        monkeypatch.setattr(trees, "_psutil", lambda: None)
    tree = ProcessTree(launcher.pid)
    launcher.kill()
    launcher.wait()
    assert len(alive(launcher)) == 2
    tree.kill()
    assert not alive(launcher)


def test_a_process_that_has_ended_is_no_problem() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    ProcessTree(ended.pid).kill()
