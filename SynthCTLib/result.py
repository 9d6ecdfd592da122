"""What a job has made: the files of each volume, its seed, and what the organ check found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class SyntheticCt:
    """The files of one CT and how it did in the organ check.

    ``files``: name of each file in ``folder``. ``score``: share of structures in order. ``passed``: all organ groups
    are in order. ``summary``: all that in words.
    """

    folder: Path
    files: dict[str, str]
    seed: int
    score: float
    passed: bool
    summary: list[str]

    def to_json(self) -> dict[str, Any]:
        """Plain values with the path of every file, for the result event."""
        paths = {key: str(self.folder / name) for key, name in self.files.items()}
        return {**paths, "seed": self.seed, "score": self.score, "passed": self.passed, "summary": self.summary}


@dataclass(frozen=True)
class Result:
    """All CTs of a job, in order."""

    cts: list[SyntheticCt]
