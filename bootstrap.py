#!/usr/bin/env python3
"""From a fresh clone to a first CT: ``python bootstrap.py demo`` or ``python bootstrap.py test``.

Makes ``.venv`` beside this file, installs SynthCT with what it needs, and runs it. Standard library only; works with
Python 3.10 to 3.13 on Linux, macOS (Apple silicon) and Windows. The network is used by pip alone. Run again, it starts
at once: a stamp in ``.venv`` says what is installed.

On Linux, pip gets the PyTorch that also runs on NVIDIA GPUs, which takes gigabytes; ``--cpu`` gets the one without.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
OLDEST, NEWEST = (3, 10), (3, 13)
TORCH = "torch==2.13.0"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""Where PyTorch without CUDA is published for Linux; the packages for Windows and macOS on PyPI have none anyway."""

DEVELOPMENT = "[dev]"
"""Extra of ``pyproject.toml`` that the tests need and the demo does not."""

STAMP = "synthct-installed.txt"
# A process per core, at most four (each takes up to 3 GB); the tests of a file share what it has prepared.
PARALLEL = ("-n", "auto", "--maxprocesses", "4", "--dist", "loadfile")


class BootstrapError(Exception):
    """Something that the user can put right; the text says what and how."""


def main(arguments: list[str] | None = None) -> int:
    """Run one of the commands; returns the exit code."""
    description = "Install SynthCT into .venv and run it."
    parser = argparse.ArgumentParser(prog="bootstrap.py", description=description, allow_abbrev=False)
    parser.add_argument(
        "command",
        choices=("demo", "test", "install"),
        help="demo: a bundled real segmentation becomes a CT in demo/; test: run the tests; install: neither. What "
        "follows goes to 'synthct generate' (as --seed 7) or to pytest (as -k worker).",
    )
    parser.add_argument(
        "--cpu", action="store_true", help=f"on Linux, install PyTorch without CUDA (much smaller), from {CPU_INDEX}"
    )
    options, more = parser.parse_known_args(arguments)
    try:
        check_python(sys.version_info[:2])
        extra = DEVELOPMENT if options.command == "test" else ""
        python = install(ROOT / ".venv", extra, without_cuda=options.cpu)
        if options.command == "demo":
            return run_demo(python, more)
        if options.command == "test":
            # Threads of processes that share the cores would wait for each other: three times the work.
            one_thread = {"OMP_NUM_THREADS": "1", **os.environ}
            parallel = () if any(one.startswith(("-n", "--numprocesses")) for one in more) else PARALLEL
            return subprocess.call([str(python), "-m", "pytest", *parallel, *more], cwd=ROOT, env=one_thread)
        print(f"Installed. Run it with: {python} -m SynthCTLib --help")
        return 0
    except BootstrapError as error:
        print(f"bootstrap: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bootstrap: interrupted; run the same command again to go on.", file=sys.stderr)
        return 130


def check_python(version: tuple[int, ...]) -> None:
    """Raise BootstrapError unless this Python can run SynthCT."""
    if not OLDEST <= version[:2] <= NEWEST:
        have, low, high = (".".join(map(str, pair[:2])) for pair in (version, OLDEST, NEWEST))
        raise BootstrapError(f"Python {have} cannot be used; run this with Python {low} to {high}, see python.org.")


def install(environment: Path, extra: str = "", without_cuda: bool = False) -> Path:
    """Make the environment if need be, install into it if need be, and return its Python.

    Args:
        extra: of ``pyproject.toml`` that is needed too, in brackets. without_cuda: on Linux, the smaller PyTorch.
    """
    python = environment_python(environment)
    stamp = environment / STAMP
    wanted = fingerprint()
    have = stamp.read_text(encoding="utf-8") if python.is_file() and stamp.is_file() else ""
    if have.startswith(wanted) and extra in have[len(wanted) :]:
        return python
    stamp.unlink(missing_ok=True)
    if not works(python):
        print(f"Making the environment {environment} …", flush=True)
        make_environment(environment)
    print("Installing PyTorch and SynthCT; the first time this takes some minutes …", flush=True)
    smaller = without_cuda and sys.platform == "linux"
    pip(python, *(("--index-url", CPU_INDEX) if smaller else ()), TORCH)
    pip(python, "--editable", f"{ROOT}{extra}")
    stamp.write_text(wanted + extra, encoding="utf-8")
    return python


def environment_python(environment: Path) -> Path:
    """Python of a virtual environment on this operating system."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def fingerprint() -> str:
    """What the installation depends on: Python's version, the torch pin and pyproject.toml."""
    digest = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    return f"python {sys.version_info[0]}.{sys.version_info[1]}\n{TORCH}\n{digest}\n{ROOT}\n"


def works(python: Path) -> bool:
    """Whether the environment has a working Python of this version, with pip."""
    if not python.is_file():
        return False
    code = "import pip, sys; print(*sys.version_info[:2])"
    try:
        answer = subprocess.run([str(python), "-c", code], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and answer.stdout.split() == [str(part) for part in sys.version_info[:2]]


def make_environment(environment: Path) -> None:
    """Make a new virtual environment with pip, in place of a broken one."""
    if environment.exists():
        if not (environment / "pyvenv.cfg").is_file():
            raise BootstrapError(f"{environment} exists but is no Python environment; rename or delete it.")
        shutil.rmtree(environment)
    try:
        venv.create(environment, with_pip=True, symlinks=os.name != "nt")
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(environment, ignore_errors=True)
        raise BootstrapError(
            f"The environment could not be made ({error}); check that {environment.parent} can be written and, on "
            "Debian or Ubuntu, install the package python3-venv."
        ) from error


def pip(python: Path, *what: str) -> None:
    """Install with pip; its own output is shown when it fails."""
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what]
    if subprocess.call(command, cwd=ROOT) != 0:
        raise BootstrapError(
            f"pip could not install {what[-1]}; read its message above, check the network and the free disk space, and "
            "run the same command again."
        )


def run_demo(python: Path, more: list[str]) -> int:
    """Turn the bundled case into a CT in ``demo/`` and say what to do next."""
    out = ROOT / "demo"
    code = "from SynthCTLib.cases import demo_case; print(demo_case().id)"
    case = subprocess.run([str(python), "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    if case.returncode != 0:
        raise BootstrapError(f"SynthCT does not start; delete {ROOT / '.venv'} and run again.\n{case.stderr}")
    generate = [str(python), "-m", "SynthCTLib", "generate", case.stdout.strip()]
    status = subprocess.call([*generate, "--out", str(out), "--seed", "1", *more], cwd=ROOT)
    if status == 0:
        synthct = python.with_name("synthct.exe" if os.name == "nt" else "synthct")
        print(
            f"\nThe CT, the label map as used, the report and a picture are in {out}"
            f"\nNext: look at {out / 'preview.png'}, open {out / 'ct.nii.gz'} in 3D Slicer,"
            f"\nthen try your own segmentation:  {synthct} generate MASK --out FOLDER"
        )
    return status


if __name__ == "__main__":
    raise SystemExit(main())
