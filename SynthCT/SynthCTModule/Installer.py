"""Installs packages into Slicer's Python without stopping the window, and never changes what Slicer came with."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from SynthCTModule.Translation import _

HELD = ("numpy", "scipy", "pillow", "SimpleITK", "pydicom", "requests", "torch", "torchvision")
"""Packages that stay at the installed version: Slicer's own, and a PyTorch that fits the graphics driver."""

LIGHT_THE_TORCH = "light-the-torch>=0.5"
"""Finds the PyTorch that fits the graphics driver; the PyTorch extension asks for the same."""

OnLine = Callable[[str], None]
OnEnd = Callable[[int], None]


class Installer(Protocol):
    """What the setup panel needs to install."""

    def installPackages(self, arguments: Sequence[str], onLine: OnLine, onEnd: OnEnd) -> None:
        """``pip install ARGUMENTS``; onEnd gets the exit code. Raises RuntimeError while another install goes on."""

    def pyTorchReason(self) -> str:
        """Why PyTorch cannot be installed from here, as a sentence; empty when it can."""

    def confirmPyTorch(self) -> bool:
        """Ask the user whether PyTorch may be downloaded and installed, which takes minutes."""

    def installPyTorch(self, requirement: str, onLine: OnLine, onEnd: OnEnd) -> None:
        """Install PyTorch for this computer; requirement: such as ``torch>=2.6``; onEnd gets the exit code.

        Raises RuntimeError while another install goes on.
        """


class SlicerInstaller:
    """Through ``slicer.packaging``, and PyTorch as the PyTorch extension does it, in processes that do not block."""

    def installPackages(self, arguments: Sequence[str], onLine: OnLine, onEnd: OnEnd) -> None:
        import slicer
        import slicer.packaging

        constraints, done = _constrained(arguments, onEnd)
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
            return _(
                "Install the extension PyTorch in the Extensions Manager, restart Slicer, and come back. In a Slicer "
                "without Extensions Manager: Install from a folder, or PyTorch from the packages of the system."
            )
        return ""

    def confirmPyTorch(self) -> bool:
        import slicer

        if slicer.app.testingEnabled():
            return True
        question = _("PyTorch, up to a few GB, will be downloaded and installed. Slicer can be used meanwhile.")
        return slicer.util.confirmOkCancelDisplay(question)

    def installPyTorch(self, requirement: str, onLine: OnLine, onEnd: OnEnd) -> None:
        def toolInstalled(exitCode: int) -> None:
            if exitCode != 0:
                onEnd(exitCode)
                return
            try:
                _runLightTheTorch(["install", requirement, "torchvision"], onLine, onEnd)
            except Exception as error:  # the caller is Slicer's timer: what is raised here reaches nobody
                onLine(str(error))
                onEnd(1)

        self.installPackages([LIGHT_THE_TORCH], onLine, toolInstalled)


def writeConstraints(arguments: Sequence[str] = ()) -> Path:
    """A pip constraints file that holds HELD at what is installed, but for what ``arguments`` ask pip to install."""
    wanted = {re.split(r"[^A-Za-z0-9._-]", argument, maxsplit=1)[0].lower() for argument in arguments}
    lines = []
    for name in HELD:
        try:
            if name.lower() not in wanted:
                lines.append(f"{name}=={importlib.metadata.version(name)}\n")
        except importlib.metadata.PackageNotFoundError:
            continue
    with tempfile.NamedTemporaryFile("w", suffix=".txt", prefix="SynthCT-", delete=False, encoding="utf-8") as file:
        file.writelines(lines)
    return Path(file.name)


def _runLightTheTorch(arguments: list[str], onLine: OnLine, onEnd: OnEnd) -> None:
    """What PyTorchUtilsLogic.installTorch does, which blocks and imports torch into Slicer's own process.

    torchvision goes along, as there: one of an older PyTorch would no longer work.
    """
    import slicer

    constraints, done = _constrained(arguments, onEnd)
    command = [*arguments, "-c", str(constraints)]
    try:
        slicer.util.executePythonModule(
            "light_the_torch", command, blocking=False, logCallback=onLine, completedCallback=done
        )
    except BaseException:
        constraints.unlink(missing_ok=True)
        raise


def _constrained(arguments: Sequence[str], onEnd: OnEnd) -> tuple[Path, OnEnd]:
    """A constraints file, and a callback for the end that removes it and lets new packages be found."""
    constraints = writeConstraints(arguments)

    def done(exitCode: int) -> None:
        constraints.unlink(missing_ok=True)
        importlib.invalidate_caches()
        onEnd(exitCode)

    return constraints, done
