"""Runs through the very function of Slicer that starts processes, with a launcher called PythonSlicer."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np
import pytest

HERE = Path(__file__).parent

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("slicer") is None, reason="slicer-core is not installed"),
    pytest.mark.skipif(os.name == "nt", reason="the launcher is a script with a first line for Unix"),
]


@pytest.fixture
def told(tmp_path: Path, tiny_model: Path, phantom: Path) -> Any:
    """Runs ``slicer_run.py`` and gives what it tells; nothing may be left in its folder for temporary files."""
    models = tmp_path / "models"
    shutil.copytree(tiny_model.parent, models / "tiny")
    image = nib.load(phantom)
    header = {"space": "right-anterior-superior", "space directions": image.affine[:3, :3].T}
    mask = tmp_path / "Maske.nrrd"
    nrrd.write(str(mask), np.asarray(image.dataobj), header | {"space origin": image.affine[:3, 3]})
    launcher = tmp_path / "bin" / "PythonSlicer"
    launcher.parent.mkdir()
    launcher.write_text(f"#!{sys.executable}\n{(HERE / 'launcher.py').read_text()}", encoding="utf-8")
    launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
    temporary = tmp_path / "vorläufige Dateien"
    temporary.mkdir()
    environment = {"PATH": f"{launcher.parent}{os.pathsep}{os.environ['PATH']}", "SYNTHCT_MODELS": str(models)}

    def run(action: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, str(HERE / "slicer_run.py"), action, str(models), str(mask), str(temporary)],
            env=os.environ | environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert not list(temporary.iterdir())
        return json.loads(done.stdout.splitlines()[-1])

    return run


def test_a_run_is_done_and_its_files_exist_while_they_are_imported(told: Any) -> None:
    result = told("finish")
    assert result["state"] == "done" and result["imported"] == [True], result["log"]


def test_cancel_ends_launcher_and_worker_within_two_seconds(told: Any) -> None:
    result = told("cancel")
    assert result["state"] == "cancelled" and result["processes"] == 2
    assert not result["left"] and result["seconds"] < 2.0


def test_closing_ends_launcher_and_worker_at_once(told: Any) -> None:
    result = told("close")
    assert result["state"] == "idle" and not result["left"] and result["seconds"] < 2.0 and "text" not in result


def test_a_killed_worker_is_told_in_a_sentence(told: Any) -> None:
    result = told("kill")
    assert result["state"] == "failed" and "ended unexpectedly" in result["text"]
