"""A stage in a process that kills itself, without any cleanup, while it writes a checkpoint.

It does so at a chosen checkpoint, not after a while: how fast the machine is does not matter.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from training import loop
from training.__main__ import main

ROOT = Path(__file__).parents[2]


def run_until_killed(config: dict[str, Any], stage: str, saves: int) -> None:
    """Run ``stage`` until ``saves`` checkpoints are complete; the next one is half written when SIGKILL comes."""
    file = Path(config["run"]).with_name(f"{stage}-killed.json")
    file.write_text(json.dumps(config))
    result = subprocess.run(
        [sys.executable, "-m", "Testing.training.killed_stage", str(saves), stage, "--config", str(file)],
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


if __name__ == "__main__":
    kill_while_saving(int(sys.argv.pop(1)))
    raise SystemExit(main())
