"""A stage in a process that kills itself, without any cleanup, while it writes a checkpoint or another file.

It does so at a chosen file, not after a while: how fast the machine is does not matter.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from training import loop
from training.__main__ import main

ROOT = Path(__file__).parents[2]
CHECKPOINTS = "checkpoints"


def run_until_killed(config: dict[str, Any], stage: str, saves: int, files: str = CHECKPOINTS) -> None:
    """Run ``stage`` until ``saves`` checkpoints are complete; the next one is half written when SIGKILL comes.

    ``files``: a pattern of names to count instead of checkpoints.
    """
    file = Path(config.get("run", config["prepared"])).with_name(f"{stage}-killed.json")
    file.write_text(json.dumps(config))
    result = subprocess.run(
        [sys.executable, "-m", "Testing.training.killed_stage", str(saves), files, stage, "--config", str(file)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == -signal.SIGKILL, result.stderr[-2000:]


def kill_while_saving(saves: int) -> None:
    """Let ``saves`` checkpoints be written, then half of one."""
    save, done = loop.save_checkpoint, list[Path]()

    def save_or_die(path: Path, state: dict[str, Any]) -> None:
        if len(done) == saves:
            path.with_name(path.name + ".part").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        save(path, state)
        done.append(path)

    loop.save_checkpoint = save_or_die


def kill_while_writing(saves: int, pattern: str) -> None:
    """Let ``saves`` files of names that fit ``pattern`` be written, then half of one, which has no final name yet."""
    replace, done = Path.replace, list[str]()

    def replace_or_die(part: Path, target: Path) -> Path:
        if fnmatch(target.name, pattern):
            if len(done) == saves:
                os.truncate(part, part.stat().st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            done.append(target.name)
        return replace(part, target)

    Path.replace = replace_or_die  # type: ignore[assignment,method-assign]


if __name__ == "__main__":
    count, files = int(sys.argv.pop(1)), sys.argv.pop(1)
    if files == CHECKPOINTS:
        kill_while_saving(count)
    else:
        kill_while_writing(count, files)
    raise SystemExit(main())
