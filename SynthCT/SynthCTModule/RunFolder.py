"""The temporary folder of one run: job file, mask and result lie in it, and nothing of a run lies anywhere else."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

PREFIX = "SynthCT-run"
_NAME = re.compile(rf"{PREFIX}-(\d+)-.+")
_TRIES = 10


class RunFolder:
    """Made at once; :meth:`remove` deletes it with all that is in it."""

    def __init__(self, parent: Path | None = None) -> None:
        """``parent``: folder for temporary files. What processes left there that are gone is removed."""
        parent = Path(parent or tempfile.gettempdir())
        removeStaleFolders(parent)
        self.path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}-{os.getpid()}-", dir=parent))
        self.mask = self.path / "mask.nrrd"
        self.job = self.path / "job.json"
        self.cancelFile = self.path / "cancel"
        self.out = self.path / "result"

    def remove(self) -> None:
        """Delete it; Windows may hold files of a killed process for a moment."""
        for _try in range(_TRIES):
            shutil.rmtree(self.path, ignore_errors=True)
            if not self.path.exists():
                return
            time.sleep(0.05)


def removeStaleFolders(parent: Path) -> None:
    """Remove run folders of processes that have ended without doing so, as when Slicer was killed."""
    for folder in parent.glob(f"{PREFIX}-*"):
        match = _NAME.fullmatch(folder.name)
        if match and not _exists(int(match[1])):
            shutil.rmtree(folder, ignore_errors=True)


def _exists(pid: int) -> bool:
    """Whether a process with this number exists; True where that cannot be found out."""
    with contextlib.suppress(ImportError):
        import psutil

        return psutil.pid_exists(pid)
    if sys.platform == "win32":  # there, os.kill would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
