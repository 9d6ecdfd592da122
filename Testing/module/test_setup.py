"""The setup panel's rows: what is there, what is missing, and what installing does, without PyTorch in this process."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from SynthCTModule import Installer as installing
from SynthCTModule import Setup as settingUp
from SynthCTModule.EngineCommand import EngineCommand
from SynthCTModule.Setup import INSTALL_PACKAGES, INSTALL_PYTORCH, Setup, SetupRow
from SynthCTModule.WorkerProcess import PopenWorkerProcess

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "SynthCT" / "Resources" / "requirements.txt"


class RecordingInstaller:
    """Remembers what it was told to install."""

    def __init__(self, reason: str = "", error: Exception | None = None) -> None:
        self.calls: list[list[str]] = []
        self.torch: list[str] = []
        self.confirmed = True
        self.reason, self.error = reason, error
        self.end: Callable[[int], None] = lambda code: None

    def installPackages(
        self, arguments: Sequence[str], onLine: Callable[[str], None], onEnd: Callable[[int], None]
    ) -> None:
        if self.error is not None:
            raise self.error
        self.calls.append(list(arguments))
        self.end = onEnd

    def pyTorchReason(self) -> str:
        return self.reason

    def confirmPyTorch(self) -> bool:
        return self.confirmed

    def installPyTorch(self, requirement: str, onLine: Callable[[str], None], onEnd: Callable[[int], None]) -> None:
        self.torch.append(requirement)
        self.end = onEnd


class Bench:
    """A setup whose packages can be taken away."""

    def __init__(self, process: PopenWorkerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
        self.process, self.installer = process, RecordingInstaller()
        self.gone: set[str] = set()
        self.versions: dict[str, str] = {}
        self.setup = Setup(EngineCommand(process), self.installer)
        self.problems: list[str] = []
        self.changes = 0
        self.setup.finished.connect(self.problems.append)
        self.setup.changed.connect(self._count)
        known = importlib.metadata.version

        def version(name: str) -> str:
            if name in self.gone:
                raise importlib.metadata.PackageNotFoundError(name)
            return self.versions.get(name) or known(name)

        monkeypatch.setattr(settingUp.importlib.metadata, "version", version)

    def _count(self) -> None:
        self.changes += 1

    def row(self, name: str) -> SetupRow:
        return next(row for row in self.setup.rows() if row.id == name)


@pytest.fixture
def bench(process: PopenWorkerProcess, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(process, monkeypatch)


def test_the_rows_are_known_before_any_process_has_answered(bench: Bench) -> None:
    states = {row.id: row.state for row in bench.setup.rows()}
    assert states == {"pytorch": "ok", "packages": "ok", "weights": "ok", "device": "unknown", "disk": "ok"}
    assert bench.setup.ready() == (True, [])


def test_a_missing_and_an_outdated_package_are_named_and_installed(bench: Bench) -> None:
    bench.gone, bench.versions = {"monai"}, {"rich": "1.0"}
    row = bench.row("packages")
    assert row.state == "missing" and "monai" in row.text and "rich" in row.text and "psutil" not in row.text
    ready, reasons = bench.setup.ready()
    assert not ready and "monai" in reasons[0]
    assert row.action == INSTALL_PACKAGES
    bench.setup.act(row.action)
    assert [Requirement(text).name for text in bench.installer.calls[0]] == ["monai", "rich"]
    assert bench.setup.installing and bench.row("packages").state == "unknown"
    bench.setup.act(INSTALL_PACKAGES)
    assert len(bench.installer.calls) == 1, "one install at a time"


@pytest.mark.parametrize(("code", "said"), [(0, ""), (1, "exit code 1")])
def test_the_end_of_an_install_is_told(bench: Bench, code: int, said: str) -> None:
    bench.gone = {"monai"}
    bench.setup.act(INSTALL_PACKAGES)
    bench.installer.end(code)
    assert not bench.setup.installing and len(bench.problems) == 1
    assert said in bench.problems[0] and bool(said) == bool(bench.problems[0])


def test_an_installer_that_cannot_start_becomes_a_sentence(bench: Bench) -> None:
    bench.gone, bench.installer.error = {"monai"}, RuntimeError("A non-blocking pip_install is already in progress.")
    bench.setup.act(INSTALL_PACKAGES)
    assert "already in progress" in bench.problems[0] and not bench.setup.installing


def test_pytorch_is_installed_once_while_the_panel_says_so(bench: Bench) -> None:
    bench.gone = {"torch"}
    assert bench.row("pytorch").action == INSTALL_PYTORCH
    bench.setup.act(INSTALL_PYTORCH)
    assert bench.installer.torch == ["torch>=2.6"] and not bench.problems
    row = bench.row("pytorch")
    assert (row.state, row.action) == ("unknown", None) and "Installing" in row.text
    bench.setup.act(INSTALL_PYTORCH)
    bench.setup.act(INSTALL_PACKAGES)
    assert len(bench.installer.torch) == 1 and not bench.installer.calls, "one install at a time"
    bench.gone = set()
    bench.installer.end(0)
    assert bench.problems == [""] and bench.row("pytorch").state == "ok"


def test_a_user_who_does_not_want_pytorch_gets_none_and_no_message(bench: Bench) -> None:
    bench.gone, bench.installer.confirmed = {"torch"}, False
    bench.setup.act(INSTALL_PYTORCH)
    assert not bench.installer.torch and not bench.problems and not bench.setup.installing


@pytest.mark.parametrize("state", ["missing", "problem"])
def test_without_the_extension_the_row_says_how_to_get_it_and_has_no_button(bench: Bench, state: str) -> None:
    bench.installer.reason = "Install the extension PyTorch."
    bench.gone = {"torch"} if state == "missing" else set()
    bench.versions = {"torch": "2.1.0"}
    row = bench.row("pytorch")
    assert (row.state, row.action) == (state, None) and "Install the extension PyTorch." in row.text


def test_a_pytorch_that_is_too_old_is_a_problem(bench: Bench) -> None:
    bench.versions = {"torch": "2.1.0+cpu"}
    assert bench.row("pytorch").state == "problem" and "2.1.0" in bench.row("pytorch").text
    bench.versions = {"torch": "2.9.0.dev20250901+cu128"}
    assert bench.row("pytorch").state == "ok"


def test_a_classroom_installs_from_a_folder_without_internet(bench: Bench, tmp_path: Path) -> None:
    bench.gone = {"torch", "einops"}
    bench.setup.installFromFolder(tmp_path)
    assert "no .whl files" in bench.problems[0] and not bench.installer.calls
    (tmp_path / "einops-0.8-py3-none-any.whl").touch()
    bench.setup.installFromFolder(tmp_path)
    assert bench.installer.calls == [["--no-index", "--find-links", str(tmp_path), "einops>=0.7", "torch>=2.6"]]


def test_the_device_is_asked_for_in_another_process(bench: Bench) -> None:
    bench.setup.refresh()
    assert bench.row("device").state == "unknown" and "Looking" in bench.row("device").text
    began = time.monotonic()
    while bench.row("device").state == "unknown":
        assert time.monotonic() - began < 120
        bench.process.pump()
    assert bench.row("device").state in ("ok", "problem") and "GB free" in bench.row("device").text
    device = bench.setup.device()
    assert device.name in ("cpu", "cuda", "mps") and device.memory > 10**9 and device.free is not None


def test_a_doctor_that_fails_becomes_a_problem_of_the_device_row(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "SynthCTLib").mkdir()
    (tmp_path / "SynthCTLib" / "__init__.py").touch()
    (tmp_path / "SynthCTLib" / "__main__.py").write_text("import tohrch", encoding="utf-8")
    monkeypatch.setattr("SynthCTModule.WorkerProcess.engineRoot", lambda: tmp_path)
    bench.setup.refresh()
    while bench.row("device").state == "unknown":
        bench.process.pump()
    assert bench.row("device").state == "problem" and "tohrch" in bench.row("device").text


def test_nothing_heavy_is_imported_for_the_rows() -> None:
    code = (
        "import sys\nsys.path.insert(0, 'SynthCT')\n"
        "from SynthCTModule.EngineCommand import EngineCommand\nfrom SynthCTModule.Installer import SlicerInstaller\n"
        "from SynthCTModule.Models import Models\nfrom SynthCTModule.Setup import Setup\n"
        "from SynthCTModule.WorkerProcess import PopenWorkerProcess\n"
        "command = EngineCommand(PopenWorkerProcess())\n"
        "Setup(command, SlicerInstaller()).rows(); Models(command).rows()\n"
        "print([name for name in ('torch', 'monai', 'nibabel', 'jsonschema', 'platformdirs') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_slicer_came_with_is_held_at_its_version() -> None:
    path = installing.writeConstraints()
    try:
        lines = path.read_text(encoding="utf-8").split()
    finally:
        path.unlink()
    assert f"numpy=={importlib.metadata.version('numpy')}" in lines
    assert f"torch=={importlib.metadata.version('torch')}" in lines


def test_what_is_to_be_installed_is_not_held() -> None:
    arguments = ["--no-index", "--find-links", "/wheels/numpy", "einops>=0.7", "Torch>=2.6"]
    path = installing.writeConstraints(arguments)
    try:
        held = {line.split("==")[0] for line in path.read_text(encoding="utf-8").split()}
    finally:
        path.unlink()
    assert "torch" not in held and "numpy" in held


def test_the_needed_pytorch_is_that_of_the_package() -> None:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    torch = next(r for r in map(Requirement, project["dependencies"]) if r.name == "torch")
    assert str(torch.specifier) == settingUp.TORCH


def test_requirements_are_ranges_that_leave_numpy_and_pytorch_alone() -> None:
    found = settingUp.readRequirements(REQUIREMENTS)
    assert len(found) > 5
    assert not {"torch", "numpy", "scipy"} & {one.name for one in found}
    for one in found:
        assert one.specifier and all(clause.operator in (">=", "<") for clause in one.specifier), str(one)
