"""What a run folder says about itself: one file per stage, with every time the stage was started.

``<run>/stages/<stage>.json`` lists command, config, SHA-256 of the prepared cases, commit and environment of each
start, the newest last; a stage that was killed and started again has two entries.
"""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path

from SynthCTLib.errors import InputError
from training.config import Config
from training.files import write_json
from training.provenance import command, commit, data_hash, environment

RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
"""Where launchers (Fabric, torchrun, SLURM) say which process this is."""


def record_start(config: Config, stage: str) -> None:
    """Add this start to the run folder, if the config has one; only the first of several processes writes.

    Raises InputError if the run folder cannot be written.
    """
    if "run" not in config or any(os.environ.get(name, "0") != "0" for name in RANKS):
        return
    path = Path(config["run"]) / "stages" / f"{stage}.json"
    prepared = Path(config.get("prepared", ""))
    starts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    starts.append(
        {
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": command(),
            "commit": commit(),
            "data": data_hash(prepared) if (prepared / "cases.json").is_file() else None,
            "environment": environment(),
            "config": config,
        }
    )
    try:
        write_json(path, starts)
    except OSError as error:
        raise InputError(
            f"The run folder {config['run']} cannot be written ({error.strerror}); change 'run'."
        ) from error
