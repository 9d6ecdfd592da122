"""Where numbers come from: commit, command, data and environment, so that anybody can get them again."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from SynthCTLib.model_files import sha256_of

PACKAGES = ("torch", "monai", "lightning-fabric", "numpy", "scipy", "nibabel", "SimpleITK")


def commit() -> str:
    """The full hash of the commit that runs, and whether the working tree differs from it; else that it is unknown."""
    describe = ["git", "describe", "--always", "--abbrev=40", "--dirty=, with uncommitted changes"]
    try:
        told = subprocess.run(describe, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown (not run from a git checkout)"
    return told.stdout.strip()


def command() -> str:
    """The stage as it was called."""
    return shlex.join(["python", "-m", "training", *sys.argv[1:]])


def data_hash(prepared: Path) -> str:
    """SHA-256 of the list of prepared cases."""
    return sha256_of(Path(prepared) / "cases.json")


def environment() -> dict[str, Any]:
    """Python, platform, packages and what can compute."""
    packages: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    cuda = torch.cuda.is_available()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else [],
    }
