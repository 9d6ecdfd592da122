"""What the tests of the extension read in its CMake files, with the patterns of the Extensions Index."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "SynthCT"


def quoted_value(name: str) -> str:
    """Value of ``set(name "value")`` in the top-level CMakeLists.txt; fails unless it is one quoted string."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    found = re.findall(rf'set\s*\({name}\s*"([^"\n]+)"\)', text)
    assert len(found) == 1, f"{name} must be set once, to one quoted string on one line."
    return found[0]


def project_name() -> str:
    """Name given to ``project()``, as the Index reads it."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    return re.findall(r"project\s*\(\s*([^\s\)\n\r]+)", text, re.IGNORECASE)[0]


def named_files(variable: str) -> list[str]:
    """Entries of the list ``variable`` in the module's CMakeLists.txt, one on each line."""
    text = (MODULE / "CMakeLists.txt").read_text(encoding="utf-8")
    (body,) = re.findall(rf"^set\({variable}\n(.*?)^  \)$", text, re.MULTILINE | re.DOTALL)
    return [line.strip() for line in body.splitlines()]


def files_on_disk(folder: Path) -> list[str]:
    """Files below ``folder`` that belong to the project, relative to it: no caches, nothing hidden."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(
        path.as_posix()
        for path in paths
        if path.suffix != ".pyc" and not any(part.startswith(".") or part == "__pycache__" for part in path.parts)
    )
