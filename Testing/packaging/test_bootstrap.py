"""bootstrap.py: a fresh machine in one command, the second time at once, and clear words when something is wrong.

pip and the commands that follow are replaced by recorders: what is tested is what bootstrap asks of them.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Recorder:
    """Stands for subprocess.call: remembers commands and answers with ``status``."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.environments: list[Any] = []
        self.status = 0

    def __call__(self, command: list[str], env: Any = None, **_: object) -> int:
        self.commands.append(command)
        self.environments.append(env)
        return self.status


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script as a module, with a root folder of its own (a name with a blank and an umlaut)."""
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "bootstrap.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    root = tmp_path / "Mein Klön"
    root.mkdir()
    (root / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    monkeypatch.setattr(module, "ROOT", root)
    yield module


@pytest.fixture
def calls(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(bootstrap.subprocess, "call", recorder)
    return recorder


@pytest.fixture
def quick_environment(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments without pip are made in a fraction of the time, and count as working."""
    real = bootstrap.venv.create
    monkeypatch.setattr(bootstrap.venv, "create", lambda path, with_pip, symlinks: real(path, symlinks=symlinks))
    monkeypatch.setattr(bootstrap, "works", lambda python: python.is_file())


def test_only_the_standard_library_is_imported() -> None:
    tree = ast.parse((ROOT / "bootstrap.py").read_text(encoding="utf-8"))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= set(sys.stdlib_module_names)


def test_the_syntax_is_that_of_the_oldest_supported_python() -> None:
    ast.parse((ROOT / "bootstrap.py").read_text(encoding="utf-8"), feature_version=(3, 10))


@pytest.mark.usefixtures("quick_environment")
def test_test_installs_and_then_runs_pytest(bootstrap: ModuleType, calls: Recorder) -> None:
    assert bootstrap.main(["test", "-k", "worker"]) == 0
    torch, project, pytest_run = calls.commands
    python = str(bootstrap.environment_python(bootstrap.ROOT / ".venv"))
    assert torch[:4] == project[:4] == [python, "-m", "pip", "install"]
    assert torch[-1] == "torch==2.13.0"
    assert project[-2:] == ["--editable", f"{bootstrap.ROOT}[dev]"]
    assert pytest_run == [python, "-m", "pytest", *bootstrap.PARALLEL, "-k", "worker"]


@pytest.mark.usefixtures("quick_environment")
@pytest.mark.parametrize("number", [["-n", "0"], ["-n2"], ["--numprocesses=8"]])
def test_who_says_how_many_processes_gets_them(bootstrap: ModuleType, calls: Recorder, number: list[str]) -> None:
    assert bootstrap.main(["test", *number]) == 0
    assert calls.commands[-1][1:] == ["-m", "pytest", *number]


@pytest.mark.usefixtures("quick_environment")
@pytest.mark.parametrize(("given", "taken"), [(None, "1"), ("3", "3")])
def test_processes_that_test_side_by_side_have_one_thread_unless_the_user_wants_more(
    bootstrap: ModuleType, calls: Recorder, monkeypatch: pytest.MonkeyPatch, given: str | None, taken: str
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert bootstrap.main(["test"]) == 0
    assert calls.environments[-1]["OMP_NUM_THREADS"] == taken
    assert calls.environments[-1].get("PATH") == os.environ.get("PATH")


@pytest.mark.usefixtures("quick_environment")
def test_the_second_run_installs_nothing_until_the_project_changes(bootstrap: ModuleType, calls: Recorder) -> None:
    bootstrap.main(["install"])
    assert len(calls.commands) == 2
    bootstrap.main(["install"])
    assert len(calls.commands) == 2
    (bootstrap.ROOT / "pyproject.toml").write_text("[project]\nname = 'x'\n", encoding="utf-8")
    bootstrap.main(["install"])
    assert len(calls.commands) == 4


@pytest.mark.usefixtures("quick_environment")
def test_the_demo_installs_no_tools_and_the_tests_add_them(
    bootstrap: ModuleType, calls: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = subprocess.CompletedProcess([], 0, stdout="some_case\n", stderr="")
    monkeypatch.setattr(bootstrap.subprocess, "run", lambda *_, **__: answer)
    bootstrap.main(["demo"])
    assert calls.commands[1][-1] == str(bootstrap.ROOT)
    calls.commands.clear()
    bootstrap.main(["test"])
    assert calls.commands[1][-1] == f"{bootstrap.ROOT}[dev]" and len(calls.commands) == 3
    calls.commands.clear()
    bootstrap.main(["demo"])
    assert len(calls.commands) == 1


@pytest.mark.usefixtures("quick_environment")
@pytest.mark.parametrize(("platform", "smaller"), [("linux", True), ("darwin", False), ("win32", False)])
def test_on_request_pytorch_comes_without_cuda(
    bootstrap: ModuleType, calls: Recorder, monkeypatch: pytest.MonkeyPatch, platform: str, smaller: bool
) -> None:
    monkeypatch.setattr(bootstrap.sys, "platform", platform)
    bootstrap.main(["install", "--cpu"])
    torch, project = calls.commands
    assert ("https://download.pytorch.org/whl/cpu" in torch) is smaller and torch[-1] == "torch==2.13.0"
    assert "--index-url" not in project


@pytest.mark.usefixtures("quick_environment")
def test_an_installation_that_failed_is_said_and_done_again(
    bootstrap: ModuleType, calls: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    calls.status = 1
    assert bootstrap.main(["install"]) == 1
    assert "pip could not install torch==2.13.0" in capsys.readouterr().err
    calls.status = 0
    assert bootstrap.main(["install"]) == 0
    assert len(calls.commands) == 3


@pytest.mark.usefixtures("quick_environment")
def test_demo_makes_the_ct_of_the_bundled_case_and_says_what_to_do_next(
    bootstrap: ModuleType, calls: Recorder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = subprocess.CompletedProcess([], 0, stdout="some_case\n", stderr="")
    monkeypatch.setattr(bootstrap.subprocess, "run", lambda *_, **__: answer)
    assert bootstrap.main(["demo", "--steps", "3"]) == 0
    command = calls.commands[-1]
    assert command[1:5] == ["-m", "SynthCTLib", "generate", "some_case"] and command[-2:] == ["--steps", "3"]
    out = str(bootstrap.ROOT / "demo")
    assert command[command.index("--out") + 1] == out
    last = capsys.readouterr().out.splitlines()[-4:]
    assert out in " ".join(last) and "Next:" in " ".join(last) and "generate MASK --out FOLDER" in last[-1]


@pytest.mark.usefixtures("quick_environment")
def test_a_demo_that_fails_does_not_claim_success(
    bootstrap: ModuleType, calls: Recorder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bootstrap.main(["install"])
    answer = subprocess.CompletedProcess([], 0, stdout="some_case\n", stderr="")
    monkeypatch.setattr(bootstrap.subprocess, "run", lambda *_, **__: answer)
    calls.status = 4
    capsys.readouterr()
    assert bootstrap.main(["demo"]) == 4
    assert "Next:" not in capsys.readouterr().out


@pytest.mark.parametrize("version", [(3, 9), (3, 14), (2, 7)])
def test_a_python_that_cannot_be_used_is_named(bootstrap: ModuleType, version: tuple[int, int]) -> None:
    with pytest.raises(bootstrap.BootstrapError, match=r"3\.10 to 3\.13"):
        bootstrap.check_python(version)


@pytest.mark.parametrize("version", [(3, 10), (3, 11), (3, 12), (3, 13)])
def test_every_promised_python_is_accepted(bootstrap: ModuleType, version: tuple[int, int]) -> None:
    bootstrap.check_python(version)


def test_a_folder_that_is_no_environment_is_left_alone(
    bootstrap: ModuleType, calls: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    (bootstrap.ROOT / ".venv").mkdir()
    (bootstrap.ROOT / ".venv" / "thesis.docx").write_bytes(b"x")
    assert bootstrap.main(["install"]) == 1
    assert "no Python environment" in capsys.readouterr().err
    assert (bootstrap.ROOT / ".venv" / "thesis.docx").is_file() and calls.commands == []


def test_an_environment_that_cannot_be_made_is_explained(
    bootstrap: ModuleType, calls: Recorder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise subprocess.CalledProcessError(1, "ensurepip")

    monkeypatch.setattr(bootstrap.venv, "create", fail)
    assert bootstrap.main(["install"]) == 1
    assert "python3-venv" in capsys.readouterr().err and calls.commands == []


def test_a_broken_environment_is_recognized(bootstrap: ModuleType, tmp_path: Path) -> None:
    assert bootstrap.works(Path(sys.executable)) is True
    assert bootstrap.works(tmp_path / "python") is False
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    broken.chmod(0o755)
    assert bootstrap.works(broken) is False


def test_the_check_of_the_repository_is_the_second_command() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").split("\n")
    assert "exec python3 bootstrap.py test" in lines
