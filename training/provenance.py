"""Where numbers come from: commit, command and data, so that anybody can get them again."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from SynthCTLib.model_files import sha256_of


def commit() -> str:
    """The full hash of the commit that runs, and whether the working tree differs from it."""
    describe = ["git", "describe", "--always", "--abbrev=40", "--dirty=, with uncommitted changes"]
    folder = Path(__file__).parent
    return subprocess.run(describe, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def command() -> str:
    """The stage as it was called."""
    return shlex.join(["python", "-m", "training", *sys.argv[1:]])


def data_hash(prepared: Path) -> str:
    """SHA-256 of the list of prepared cases."""
    return sha256_of(Path(prepared) / "cases.json")
