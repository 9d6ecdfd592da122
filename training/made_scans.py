"""CTs made for the held-out cases, kept on the disk with what they cost, so that scores can be computed again soon."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from training.files import save_arrays
from training.metrics.summary import summary
from training.scans import Scan
from training.subjects import Subject


@dataclass
class Cost:
    """What making the volumes took: seconds of each, and the largest memory of the process in bytes."""

    seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    def as_json(self) -> dict[str, Any]:
        """Seconds per volume and peak memory."""
        return {"seconds": summary(self.seconds), "peak_memory_mb": round(self.peak_bytes / 1e6)}


def make_scans(subject: Subject, real: list[Scan], folder: Path) -> tuple[list[Scan], Cost]:
    """One CT per real scan, seeds 0, 1, …; taken from ``folder`` where it has been made before with these settings."""
    made, cost = [], Cost()
    for seed, scan in enumerate(real):
        path = folder / f"{scan.name}-{_key(subject, scan, seed)}.npz"
        if not path.is_file():
            began = time.perf_counter()
            hu = subject.make(scan, seed)
            save_arrays(path, hu=hu, seconds=time.perf_counter() - began, peak_bytes=peak_memory())
            print(f"{seed + 1}/{len(real)} {scan.name} {hu.shape}", flush=True)
        with np.load(path) as stored:
            made.append(Scan(scan.name, stored["hu"], scan.mask, scan.spacing, scan.group))
            cost.seconds.append(float(stored["seconds"]))
            cost.peak_bytes = max(cost.peak_bytes, int(stored["peak_bytes"]))
    return made, cost


def _key(subject: Subject, scan: Scan, seed: int) -> str:
    """Changes with everything that the made volume depends on."""
    digest = hashlib.sha256(json.dumps([subject.settings, scan.spacing, seed], sort_keys=True).encode())
    digest.update(np.ascontiguousarray(scan.hu).tobytes() + np.ascontiguousarray(scan.mask).tobytes())
    return digest.hexdigest()[:16]


def peak_memory() -> int:
    """Largest memory of this process so far in bytes: of the GPU where there is one, else of the computer."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
