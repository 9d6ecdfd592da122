"""A process with all its descendants: Slicer's Python is a launcher, whose end alone would orphan the worker."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time

WAIT = 0.7
"""Seconds that killed processes get to disappear."""


class ProcessTree:
    """The process ``pid`` and every descendant ever seen, so that a child is found even after its launcher has gone."""

    def __init__(self, pid: int) -> None:
        self._root = pid
        self._seen: dict[int, object] = {}
        self.remember()

    def remember(self) -> None:
        """Note the descendants of this moment."""
        psutil = _psutil()
        if psutil is None:
            self._seen.update(dict.fromkeys(_descendants(self._root)))
            return
        with contextlib.suppress(psutil.Error):
            root = self._seen.setdefault(self._root, psutil.Process(self._root))
            self._seen.update({child.pid: child for child in root.children(recursive=True)})

    def kill(self) -> None:
        """End all of them at once; returns when they are gone, or after WAIT seconds."""
        self.remember()
        psutil = _psutil()
        if psutil is None:
            _killAll([self._root, *self._seen])
            return
        processes = [process for process in self._seen.values() if process is not None]
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.kill()  # psutil makes sure that the number has not been given to another process
        _, alive = psutil.wait_procs(processes, timeout=WAIT)
        for process in alive:  # children that were started meanwhile
            with contextlib.suppress(psutil.Error):
                for child in process.children(recursive=True):
                    child.kill()


def _psutil():
    """The package psutil, None where the engine's packages are not installed yet."""
    try:
        import psutil
    except ImportError:
        return None
    return psutil


def _descendants(root: int) -> list[int]:
    """Process numbers below ``root``, by ``ps``; Windows needs none, since its ``taskkill`` finds them."""
    if os.name == "nt":
        return []
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False).stdout
    parents = {int(pid): int(parent) for pid, parent in (line.split() for line in listing.splitlines())}
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


def _killAll(pids: list[int]) -> None:
    if os.name == "nt":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(pids[0])], capture_output=True, check=False)
        return
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    time.sleep(0.05)
