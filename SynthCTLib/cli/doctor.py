"""``synthct doctor``."""

from __future__ import annotations

import argparse
from typing import Any

from SynthCTLib.cli.show import show
from SynthCTLib.events import Emit


def add_commands(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    command = commands.add_parser("doctor", parents=[common], help="what is installed here and what will work")
    command.set_defaults(run=run_doctor)


def run_doctor(options: argparse.Namespace, emit: Emit) -> None:
    """Look at this computer and say what will work."""
    from SynthCTLib.doctor import examine  # here, since it loads PyTorch

    checks = examine()
    marks = {"ok": "ok", "absent": "--", "problem": "!!"}
    lines = [f"{marks[check.state]} {check.name}: {check.text}" for check in checks]
    show(options, emit, "checks", [check.to_json() for check in checks], lines)
