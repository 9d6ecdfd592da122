"""Between the parameter node, which the panel is bound to, and the settings of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from SynthCTModule.Choices import DeviceChoice, PresetChoice, RegionChoice
from SynthCTModule.EnginePath import ensureEngineOnPath
from SynthCTModule.Parameters import RunParameters


def readParameters(node: Any, modelsFolder: Path | None = None) -> RunParameters:
    """The settings of a run as the parameter node holds them, but for those that the model has no use for."""
    parameters = RunParameters(
        model=node.modelId,
        region=node.region.value or None,
        size=_size(node),
        spacing=_spacing(node),
        preset=node.preset.value,
        steps=node.steps or None,
        guidance=node.guidance if node.guidance >= 0 else None,
        temperature=node.temperature if node.temperature >= 0 else None,
        seed=node.seed,
        count=node.count,
        retries=node.retries,
        device=node.device.value,
        grid="input" if node.onInputGrid else "model",
        modelsFolder=modelsFolder,
    )
    return parameters if parameters.takesMask() else parameters.withoutMask()


def anatomyFor(node: Any, parameters: RunParameters) -> Any:
    """The anatomy of a run with these settings; None where none is chosen, and for a model that takes none."""
    return node.inputNode if parameters.takesMask() else None


def caseSettings(node: Any) -> dict[str, Any]:
    """The settings that a case file keeps (``settings`` of case.json)."""
    settings: dict[str, Any] = {"seed": node.seed, "preset": node.preset.value}
    for key, values in (("size", _size(node)), ("spacing", _spacing(node))):
        if values is not None:
            settings[key] = list(values)
    return settings


def applyCaseSettings(node: Any, settings: Mapping[str, Any]) -> None:
    """Show the settings of a case; what it leaves open stays, but for the grid, which is then chosen by the model."""
    node.seed = int(settings.get("seed", node.seed)) % 2**31
    node.preset = PresetChoice(settings.get("preset", node.preset.value))
    node.customGrid = "size" in settings or "spacing" in settings
    if "size" in settings:
        node.sizeX, node.sizeY, node.sizeZ = (int(size) for size in settings["size"])
    if "spacing" in settings:
        node.spacingInPlane, _y, node.spacingSlice = (float(step) for step in settings["spacing"])


def writeParameters(node: Any, parameters: RunParameters) -> None:
    """Show the settings of an earlier run in the panel. Raises InputError for a region that does not exist."""
    ensureEngineOnPath()
    from SynthCTLib.regions import parse_region

    node.modelId = parameters.model
    node.region = RegionChoice(str(parse_region(parameters.region)) if parameters.region else "")
    node.customGrid = parameters.size is not None
    if parameters.size is not None:
        node.sizeX, node.sizeY, node.sizeZ = parameters.size
    if parameters.spacing is not None:
        node.spacingInPlane, _y, node.spacingSlice = parameters.spacing
    node.preset = PresetChoice(parameters.preset or PresetChoice.STANDARD.value)
    node.steps = parameters.steps or 0
    node.guidance = -0.5 if parameters.guidance is None else parameters.guidance
    node.temperature = -0.05 if parameters.temperature is None else parameters.temperature
    if parameters.seed is not None:
        node.seed = parameters.seed
    node.count, node.retries = parameters.count, parameters.retries
    known = [choice.value for choice in DeviceChoice]
    node.device = DeviceChoice(parameters.device) if parameters.device in known else DeviceChoice.AUTOMATIC
    node.onInputGrid = parameters.grid == "input"


def _size(node: Any) -> tuple[int, int, int] | None:
    """Voxels toward right, anterior, superior; None unless the user has chosen all three."""
    size = (node.sizeX, node.sizeY, node.sizeZ)
    return size if node.customGrid and all(size) else None


def _spacing(node: Any) -> tuple[float, float, float] | None:
    """Millimeters toward right, anterior, superior; None unless the user has chosen both."""
    spacing = (node.spacingInPlane, node.spacingInPlane, node.spacingSlice)
    return spacing if node.customGrid and all(spacing) else None
