"""The installer calls Slicer's packaging so that the window stays alive, and leaves no file behind."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from SynthCTModule.Installer import SlicerInstaller


class Packaging:
    """What ``slicer.packaging.pip_install`` is given; ``error`` is raised in its place."""

    def __init__(self) -> None:
        self.arguments: list[str] = []
        self.options: dict[str, Any] = {}
        self.constraints = ""
        self.error: Exception | None = None
        self.modules: list[tuple[str, list[str]]] = []
        self.held: list[str] = []

    def executePythonModule(self, module: str, args: list[str], **options: Any) -> None:
        self.modules.append((module, args))
        self.options, self.file = options, Path(args[-1])
        self.held = self.file.read_text(encoding="utf-8").split()
        if self.error is not None:
            raise self.error

    def pip_install(self, requirements: list[str], constraints: Path, **options: Any) -> None:
        self.arguments, self.options, self.file = requirements, options, Path(constraints)
        self.constraints = self.file.read_text(encoding="utf-8")
        if self.error is not None:
            raise self.error


@pytest.fixture
def slicer(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], Packaging]:
    """Puts a stand-in for Slicer in place, in testing mode or not."""

    def place(testing: bool) -> Packaging:
        module, packaging = types.ModuleType("slicer"), Packaging()
        module.app = types.SimpleNamespace(testingEnabled=lambda: testing)  # type: ignore[attr-defined]
        module.packaging = packaging  # type: ignore[attr-defined]
        module.util = types.SimpleNamespace(executePythonModule=packaging.executePythonModule)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "slicer", module)
        monkeypatch.setitem(sys.modules, "slicer.packaging", packaging)  # type: ignore[arg-type]
        return packaging

    return place


def test_packages_are_installed_without_blocking_and_with_numpy_held(slicer: Callable[[bool], Packaging]) -> None:
    packaging, lines, codes = slicer(False), [], []
    SlicerInstaller().installPackages(["monai>=1.5"], lines.append, codes.append)
    assert packaging.arguments == ["monai>=1.5"] and packaging.options["blocking"] is False
    assert "numpy==" in packaging.constraints and packaging.file.is_file() and not codes
    packaging.options["logCallback"]("Collecting monai")
    packaging.options["completedCallback"](0)
    assert (lines, codes) == (["Collecting monai"], [0]) and not packaging.file.exists()


def test_in_testing_mode_the_end_is_told_although_slicer_does_not(slicer: Callable[[bool], Packaging]) -> None:
    packaging, codes = slicer(True), []
    SlicerInstaller().installPackages(["monai>=1.5"], print, codes.append)
    assert codes == [0] and packaging.options["blocking"] is True and not packaging.file.exists()


def test_an_install_that_cannot_begin_leaves_no_file(slicer: Callable[[bool], Packaging]) -> None:
    packaging = slicer(False)
    packaging.error = RuntimeError("A non-blocking pip_install is already in progress.")
    with pytest.raises(RuntimeError, match="in progress"):
        SlicerInstaller().installPackages(["monai>=1.5"], print, print)
    assert not packaging.file.exists()


def test_without_the_pytorch_extension_the_reason_names_both_ways() -> None:
    reason = SlicerInstaller().pyTorchReason()
    assert "Extensions Manager" in reason and "Install from a folder" in reason and "system" in reason


def test_with_the_extension_there_is_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    extension = types.ModuleType("PyTorchUtils")
    extension.__spec__ = types.SimpleNamespace(name="PyTorchUtils")  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "PyTorchUtils", extension)
    assert SlicerInstaller().pyTorchReason() == ""


def test_pytorch_is_installed_without_blocking_and_without_import(slicer: Callable[[bool], Packaging]) -> None:
    packaging, lines, codes = slicer(False), [], []
    SlicerInstaller().installPyTorch("torch>=2.6", lines.append, codes.append)
    assert packaging.arguments == ["light-the-torch>=0.5"] and not packaging.modules
    packaging.options["completedCallback"](0)
    module, arguments = packaging.modules[0]
    assert module == "light_the_torch" and arguments[:4] == ["install", "torch>=2.6", "torchvision", "-c"]
    assert packaging.options["blocking"] is False and not codes
    names = {line.split("==")[0] for line in packaging.held}
    assert "numpy" in names and not {"torch", "torchvision"} & names
    packaging.options["logCallback"]("Downloading torch")
    packaging.options["completedCallback"](0)
    assert (lines, codes) == (["Downloading torch"], [0]) and not packaging.file.exists()


def test_pytorch_is_not_begun_when_its_tool_could_not_be_installed(slicer: Callable[[bool], Packaging]) -> None:
    packaging, codes = slicer(False), []
    SlicerInstaller().installPyTorch("torch>=2.6", print, codes.append)
    packaging.options["completedCallback"](1)
    assert codes == [1] and not packaging.modules


def test_a_pytorch_install_that_cannot_begin_is_told(slicer: Callable[[bool], Packaging]) -> None:
    packaging, lines, codes = slicer(False), [], []
    SlicerInstaller().installPyTorch("torch>=2.6", lines.append, codes.append)
    packaging.error = RuntimeError("PythonSlicer executable not found")
    packaging.options["completedCallback"](0)
    assert (lines, codes) == (["PythonSlicer executable not found"], [1]) and not packaging.file.exists()
