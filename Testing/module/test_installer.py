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


def test_without_the_pytorch_extension_the_reason_says_how_to_get_it() -> None:
    assert "Extensions Manager" in SlicerInstaller().pyTorchReason()


def test_pytorch_is_installed_by_its_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    class Logic:
        def installTorch(self, **options: Any) -> None:
            asked.update(options)

    extension = types.ModuleType("PyTorchUtils")
    extension.PyTorchUtilsLogic = Logic  # type: ignore[attr-defined]
    extension.__spec__ = types.SimpleNamespace(name="PyTorchUtils")  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "PyTorchUtils", extension)
    assert SlicerInstaller().pyTorchReason() == ""
    SlicerInstaller().installPyTorch(">=2.6")
    assert asked == {"askConfirmation": True, "torchVersionRequirement": ">=2.6"}
