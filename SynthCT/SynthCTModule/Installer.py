"""Installs packages into Slicer's Python without stopping the window, and never changes what Slicer came with."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from SynthCTModule.Translation import _

HELD = ("numpy", "scipy", "pillow", "SimpleITK", "pydicom", "requests", "torch", "torchvision")
"""Packages that stay at the installed version: Slicer's own, and a PyTorch that fits the graphics driver."""

OnLine = Callable[[str], None]
OnEnd = Callable[[int], None]


class Installer(Protocol):
    """What the setup panel needs to install."""

    def installPackages(self, arguments: Sequence[str], onLine: OnLine, onEnd: OnEnd) -> None:
        """``pip install ARGUMENTS``; onEnd gets the exit code. Raises RuntimeError while another install goes on."""

    def pyTorchReason(self) -> str:
        """Why PyTorch cannot be installed from here, as a sentence; empty when it can."""

    def installPyTorch(self, requirement: str) -> None:
        """Install PyTorch for this computer; requirement: such as ``>=2.6``. Raises what the PyTorch extension does."""


class SlicerInstaller:
    """Through ``slicer.packaging`` and the PyTorch extension."""

    def installPackages(self, arguments: Sequence[str], onLine: OnLine, onEnd: OnEnd) -> None:
        import slicer
        import slicer.packaging

        constraints = writeConstraints()

        def done(exitCode: int) -> None:
            constraints.unlink(missing_ok=True)
            importlib.invalidate_caches()
            onEnd(exitCode)

        testing = slicer.app.testingEnabled()  # pip_install blocks then and never calls back
        try:
            slicer.packaging.pip_install(
                list(arguments),
                constraints=constraints,
                blocking=testing,
                show_progress=False,
                requester="SynthCT",
                logCallback=onLine,
                completedCallback=done,
            )
        except BaseException:
            constraints.unlink(missing_ok=True)
            raise
        if testing:
            done(0)

    def pyTorchReason(self) -> str:
        if importlib.util.find_spec("PyTorchUtils") is None:
            return _("Install the extension PyTorch in the Extensions Manager, restart Slicer, and come back.")
        return ""

    def installPyTorch(self, requirement: str) -> None:
        import PyTorchUtils

        PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=requirement)
        importlib.invalidate_caches()


def writeConstraints() -> Path:
    """A pip constraints file that holds HELD at what is installed."""
    lines = []
    for name in HELD:
        try:
            lines.append(f"{name}=={importlib.metadata.version(name)}\n")
        except importlib.metadata.PackageNotFoundError:
            continue
    with tempfile.NamedTemporaryFile("w", suffix=".txt", prefix="SynthCT-", delete=False, encoding="utf-8") as file:
        file.writelines(lines)
    return Path(file.name)
