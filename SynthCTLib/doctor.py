"""What is installed on this computer, and what will work on it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch

from SynthCTLib import __version__
from SynthCTLib.cards import ModelCard, invalid_cards, list_cards
from SynthCTLib.cases import list_cases
from SynthCTLib.device import choose_device, free_memory, total_memory
from SynthCTLib.errors import SynthCTError
from SynthCTLib.store import ModelStore, how_to_get

PYTHON_RANGE = ((3, 10), (3, 13))
PACKAGES = ("torch", "monai", "numpy", "scipy", "nibabel", "pynrrd", "safetensors", "pillow", "jsonschema", "rich")
GIGABYTE = 1e9
# Resident memory that Python with PyTorch and MONAI takes before it computes anything, rounded up.
MINIMUM_MEMORY = 2 * GIGABYTE

State = Literal["ok", "absent", "problem"]


@dataclass(frozen=True)
class Check:
    """One line of the examination; ``text`` says what was found and, for a problem, what to do.

    ``absent`` is what can be had but is not needed: a model that has not been imported. ``values``: the same as
    numbers, for programs; ``memory`` has device, total and free (bytes), ``models folder`` has free.
    """

    name: str
    state: State
    text: str
    values: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def examine(store: ModelStore | None = None) -> list[Check]:
    """All checks, from the ground up: Python, packages, device, memory, disk, models, cases, verdict."""
    store = store or ModelStore()
    checks = [_python(), *(_package(name) for name in PACKAGES), _device(), _memory(), _disk(store)]
    cards, problem = _cards(store)
    checks += [problem] if problem else []
    checks += [_model(card, store) for card in cards]
    checks += [Check(f"model {path.parent.name}", "problem", str(e)) for path, e in invalid_cards(store).items()]
    checks.append(Check("cases", "ok", ", ".join(case.id for case in list_cases())))
    ready = [card.id for card in cards if store.status(card) == "ready"]
    problems = [check.name for check in checks if check.state == "problem" and not check.name.startswith("model ")]
    text = f"generate works with: {', '.join(ready)}" if ready else "no model is ready; import or download one"
    if problems:
        return [*checks, Check("verdict", "problem", f"put right first: {', '.join(problems)}; then {text}")]
    return [*checks, Check("verdict", "ok" if ready else "problem", text)]


def _check(name: str, good: bool, text: str, advice: str = "", values: dict[str, Any] | None = None) -> Check:
    return Check(name, "ok" if good else "problem", text if good else f"{text}; {advice}", values or {})


def _python() -> Check:
    low, high = PYTHON_RANGE
    good = low <= sys.version_info[:2] <= high
    text = f"{platform.python_version()} on {platform.platform()}, SynthCT {__version__}"
    return _check("python", good, text, f"use Python {low[0]}.{low[1]} to {high[0]}.{high[1]}")


def _package(name: str) -> Check:
    try:
        return Check(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Check(name, "problem", f"is missing; install it with: {sys.executable} -m pip install {name}")


def _device() -> Check:
    device = choose_device("auto")
    if device.type == "cuda":
        return Check("device", "ok", f"{torch.cuda.get_device_name(device)} ({device})")
    if device.type == "mps":
        return Check("device", "ok", "Apple GPU (mps)")
    return Check("device", "ok", f"no GPU; {os.cpu_count()} CPU cores, {torch.get_num_threads()} threads")


def _memory() -> Check:
    device = choose_device("auto")
    free = free_memory(device)
    text = f"{free / GIGABYTE:.1f} GB free on {device}"
    values = {"device": device.type, "total": total_memory(device), "free": free}
    return _check("memory", free >= MINIMUM_MEMORY, text, "close other programs or use a smaller --size", values)


def _disk(store: ModelStore) -> Check:
    folder = store.root
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{store.root}, {free / GIGABYTE:.1f} GB free"
    advice = "it cannot be written, set SYNTHCT_MODELS"
    return _check("models folder", os.access(folder, os.W_OK), text, advice, {"free": free})


def _cards(store: ModelStore) -> tuple[list[ModelCard], Check | None]:
    try:
        return list_cards(store), None
    except SynthCTError as error:
        return [], Check("cards", "problem", str(error))


def _model(card: ModelCard, store: ModelStore) -> Check:
    status = store.status(card)
    if status == "ready":
        size = sum(store.file(card, part).stat().st_size for part in card.files) / 1e6
        return Check(f"model {card.id}", "ok", f"ready, {size:.0f} MB")
    advice = "Install SynthCT again" if card.embedded else how_to_get(card)
    absent = status == "missing" and not card.embedded
    return Check(f"model {card.id}", "absent" if absent else "problem", f"{status}. {advice}.")
