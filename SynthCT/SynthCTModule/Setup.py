"""What has to be there before a CT can be made, row by row, and how what is missing gets there."""

from __future__ import annotations

import importlib.metadata
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SynthCTModule.Cards import shippedCards
from SynthCTModule.EngineCommand import EngineCommand
from SynthCTModule.Estimates import Device
from SynthCTModule.Installer import Installer
from SynthCTModule.Signal import Signal
from SynthCTModule.Translation import _
from SynthCTModule.WorkerEvents import Event, Failure

if TYPE_CHECKING:
    from packaging.requirements import Requirement

TORCH = ">=2.6"
OK, MISSING, PROBLEM, UNKNOWN = "ok", "missing", "problem", "unknown"

INSTALL_PYTORCH, INSTALL_PACKAGES, CHECK_AGAIN = "install-pytorch", "install-packages", "check-again"
"""Actions of rows, for ``Setup.act``."""

LEAST_DISK = 1_000_000_000
"""Bytes that runs and their results need free."""


@dataclass(frozen=True)
class SetupRow:
    """One line of the panel; ``state``: ok, missing, problem or unknown; ``action``: for ``Setup.act``, or None."""

    id: str
    title: str
    state: str
    text: str
    action: str | None = None


class Setup:
    """Status and installation; signals on the main thread: changed(), logChanged(str), finished(str: "" or a problem).

    Nothing heavy is imported: packages are looked up by their metadata, the device is asked for in another process.
    """

    def __init__(self, command: EngineCommand, installer: Installer, requirements: Path | None = None) -> None:
        self.changed, self.logChanged, self.finished = Signal(), Signal(), Signal()
        self._command, self._installer = command, installer
        self._requirements = requirements or Path(__file__).resolve().parents[1] / "Resources" / "requirements.txt"
        self._checks: dict[str, dict[str, Any]] = {}
        self._failure: Failure | None = None
        self._unmet: list[str] | None = None
        self._examined = self._closed = False
        self.installing = False

    def rows(self) -> list[SetupRow]:
        """All rows as they are known now."""
        return [self._pyTorchRow(), self._packagesRow(), self._weightsRow(), self._deviceRow(), self._diskRow()]

    def ready(self) -> tuple[bool, list[str]]:
        """Whether a CT can be made, and what is missing as sentences. The device need not have been looked at."""
        needed = [row for row in self.rows() if row.id in ("pytorch", "packages", "weights")]
        reasons = [f"{row.title}: {row.text}" for row in needed if row.state != OK]
        return not reasons, reasons

    def device(self) -> Device:
        """The device that "auto" stands for, as far as it is known."""
        values = self._checks.get("memory", {}).get("values", {})
        if not values:
            return Device()
        return Device(str(values["device"]), int(values["total"]), int(values["free"]))

    def refresh(self) -> None:
        """Look again; device and memory come a few seconds later, with another ``changed``."""
        self._checks, self._failure, self._examined, self._unmet = {}, None, False, None
        if not self._missing() and _version("torch") is not None and not self._command.busy:
            try:
                self._command.start(["doctor"], self._onDoctor)
            except (RuntimeError, OSError) as error:
                self._failure, self._examined = Failure("crash", str(error)), True
        self.changed.emit()

    def close(self) -> None:
        """Look no more, and say nothing more: an install that goes on in Slicer's hands ends unheard."""
        self._closed = True
        self._command.close()

    def act(self, action: str) -> None:
        """Do what a row offers."""
        if action == INSTALL_PYTORCH:
            self._installPyTorch()
        elif action == INSTALL_PACKAGES:
            self._install(self._missing())
        else:
            self.refresh()

    def installFromFolder(self, folder: Path) -> None:
        """Install all that is missing, PyTorch included, from a folder of wheels, without internet."""
        if not any(Path(folder).glob("*.whl")):
            self.finished.emit(_("There are no .whl files in {folder}; choose another folder.").format(folder=folder))
            return
        self._install(["--no-index", "--find-links", str(folder), *self._missing(), *self._missingTorch()])

    def _install(self, arguments: list[str]) -> None:
        if arguments:
            self._begin(lambda: self._installer.installPackages(arguments, self._onLine, self._onInstalled))

    def _installPyTorch(self) -> None:
        if not self.installing and not self._installer.pyTorchReason() and self._installer.confirmPyTorch():
            needed = f"torch{TORCH}"
            self._begin(lambda: self._installer.installPyTorch(needed, self._onLine, self._onInstalled))

    def _begin(self, install: Callable[[], None]) -> None:
        """Start one install at a time; its end comes to ``_onInstalled``."""
        if self.installing:
            return
        self.installing = True
        try:
            install()
        except Exception as error:
            logging.exception("Packages could not be installed")
            self._installed(_("The packages could not be installed ({error}); see the log.").format(error=error))
        self.changed.emit()

    def _onLine(self, line: str) -> None:
        if not self._closed:
            self.logChanged.emit(line)

    def _onInstalled(self, exitCode: int) -> None:
        if self._closed:
            return
        problem = _("pip could not install all packages (exit code {code}); the log says why.").format(code=exitCode)
        self._installed("" if exitCode == 0 else problem)

    def _installed(self, problem: str) -> None:
        self.installing = False
        self.refresh()
        self.finished.emit(problem)

    def _onDoctor(self, result: Event | None, failure: Failure | None) -> None:
        self._examined, self._failure = True, failure
        if result is not None:
            self._checks = {check["name"]: check for check in result.get("checks", [])}
        self.changed.emit()

    def _missing(self) -> list[str]:
        """Requirements that were not met at the last look: panels ask often, and each look reads a dozen files."""
        if self._unmet is None:
            self._unmet = [str(one) for one in readRequirements(self._requirements) if not isMet(one)]
        return self._unmet

    def _missingTorch(self) -> list[str]:
        return [] if isMet(_requirement(f"torch{TORCH}")) else [f"torch{TORCH}"]

    def _pyTorchRow(self) -> SetupRow:
        title, version = _("PyTorch"), _version("torch")
        if version is not None and not self._missingTorch():
            return SetupRow("pytorch", title, OK, version)
        if self.installing:
            return SetupRow("pytorch", title, UNKNOWN, _("Installing…"))
        reason = self._installer.pyTorchReason()
        action = None if reason else INSTALL_PYTORCH
        if version is None:
            return SetupRow("pytorch", title, MISSING, reason or _("Not installed."), action)
        text = _("{version} is too old; {needed} is needed.").format(version=version, needed=TORCH)
        return SetupRow("pytorch", title, PROBLEM, f"{text} {reason}".strip(), action)

    def _packagesRow(self) -> SetupRow:
        title, missing = _("Python packages"), self._missing()
        if not missing:
            return SetupRow("packages", title, OK, _("All there."))
        if self.installing:
            return SetupRow("packages", title, UNKNOWN, _("Installing…"))
        text = _("To install: {names}").format(names=", ".join(missing))
        return SetupRow("packages", title, MISSING, text, INSTALL_PACKAGES)

    def _weightsRow(self) -> SetupRow:
        from SynthCTLib.store import ModelStore

        card = next(card for card in shippedCards() if card.embedded)
        if ModelStore(card.path.parent).status(card) == "ready":
            size = sum(part["bytes"] for part in card.files.values()) / 1e6
            return SetupRow("weights", _("Embedded model"), OK, _("{size:.0f} MB, there.").format(size=size))
        text = _("Its files are damaged or missing; install the SynthCT extension again.")
        return SetupRow("weights", _("Embedded model"), PROBLEM, text)

    def _deviceRow(self) -> SetupRow:
        title = _("Device")
        if self._failure is not None:
            return SetupRow("device", title, PROBLEM, self._failure.text(), CHECK_AGAIN)
        if not self._checks:
            waits = not self._examined and self._command.busy
            text = _("Looking…") if waits else _("Known when PyTorch and the packages are there.")
            return SetupRow("device", title, UNKNOWN, text, None if waits else CHECK_AGAIN)
        device, memory = self._checks["device"], self._checks["memory"]
        state = OK if memory["state"] == "ok" else PROBLEM
        return SetupRow("device", title, state, f"{device['text']}; {memory['text']}", CHECK_AGAIN)

    def _diskRow(self) -> SetupRow:
        folder = self._checks.get("models folder")
        free = int(folder["values"]["free"]) if folder else shutil.disk_usage(Path.home()).free
        text = _("{free:.0f} GB free.").format(free=free / 1e9)
        if free >= LEAST_DISK:
            return SetupRow("disk", _("Disk"), OK, text)
        return SetupRow("disk", _("Disk"), PROBLEM, text + " " + _("Free some space."), CHECK_AGAIN)


def readRequirements(path: Path) -> list[Requirement]:
    """The requirements of a requirements.txt without options and comments."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [_requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


def isMet(requirement: Requirement) -> bool:
    """Whether an installed package meets a requirement, by its metadata."""
    version = _version(requirement.name)
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def _requirement(text: str) -> Requirement:
    from packaging.requirements import Requirement

    return Requirement(text)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
