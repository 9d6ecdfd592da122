"""Record the run that the bench replays: ``python -m Testing.module.record``.

A real worker makes a draft of the sample case with the default model and seed 7, and ``recorded/run.jsonl`` and
``recorded/report.json`` become what it has said and reported, with ``{out}`` for the result folder. On Linux or a Mac.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from SynthCTLib.cases import demo_case

ROOT = Path(__file__).resolve().parents[2]
RECORDED = Path(__file__).with_name("recorded")
JOB = {"schema": 1, "mask": "labels.nii.gz", "out": "out", "labels": "maisi", "preset": "draft", "seed": 7}


def main() -> None:
    """Run the worker; nothing is written where it fails."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        shutil.copy(demo_case().path, folder / "labels.nii.gz")
        job = folder / "job.json"
        job.write_text(json.dumps(JOB), encoding="utf-8")
        command = [sys.executable, "-m", "SynthCTLib.worker", str(job)]
        said = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
        report = json.loads((folder / "out" / "report.json").read_text(encoding="utf-8"))
        for file, text in (("run.jsonl", said), ("report.json", json.dumps(report, indent=1) + "\n")):
            anywhere = text.replace(f"{folder}/out", "{out}").replace(f"{folder}/", "")
            (RECORDED / file).write_text(anywhere, encoding="utf-8")


if __name__ == "__main__":
    main()
