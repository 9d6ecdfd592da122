"""How a CT is shown: windows for the slices, and Slicer's volume rendering preset for each body region."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from SynthCTModule.Translation import _

WINDOWS = {"lung": (1500.0, -600.0), "softTissue": (400.0, 40.0), "bone": (1800.0, 400.0), "brain": (80.0, 40.0)}
"""Window width and level in HU."""
_WINDOW_OF_REGION = {"head": "brain", "chest": "softTissue", "abdomen": "softTissue", "pelvis": "softTissue"}
RENDERINGS = {
    "ct": ("CT-Bones", "CT-Bone", "CT-Lung", "CT-Soft-Tissue", "CT-Muscle", "CT-Chest-Contrast-Enhanced", "CT-MIP"),
    "mr": ("MR-Default", "MR-T2-Brain", "MR-MIP", "MR-Angio"),
}
"""Slicer's presets for volume rendering by modality."""
_RENDERING_OF_REGION = {"head": "CT-Bone", "chest": "CT-Lung", "abdomen": "CT-Soft-Tissue", "pelvis": "CT-Bones"}


@dataclass(frozen=True)
class WindowPreset:
    """``window`` and ``level`` in HU; ``title`` as shown."""

    id: str
    title: str
    window: float
    level: float


def windowPresets() -> list[WindowPreset]:
    """All presets in the order of the buttons."""
    titles = {"lung": _("Lung"), "softTissue": _("Soft tissue"), "bone": _("Bone"), "brain": _("Brain")}
    return [WindowPreset(key, titles[key], *WINDOWS[key]) for key in WINDOWS]


def windowForRegion(region: Iterable[str]) -> str:
    """Id of the window that suits a region (names from head to pelvis): brain for the head alone, else soft tissue."""
    ids = {_WINDOW_OF_REGION.get(name, "softTissue") for name in region}
    return ids.pop() if len(ids) == 1 else "softTissue"


def applyWindow(volumeNode: Any, presetId: str) -> None:
    """Show a volume node with a preset's window. Raises KeyError when there is no such preset."""
    window, level = WINDOWS[presetId]
    if volumeNode.GetDisplayNode() is None:
        volumeNode.CreateDefaultDisplayNodes()
    display = volumeNode.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(window, level)


def renderingPreset(region: Iterable[str]) -> str:
    """Name of Slicer's volume rendering preset for a region; for several regions that of the whole skeleton."""
    names = list(region)
    return _RENDERING_OF_REGION.get(names[0], "CT-Bones") if len(names) == 1 else "CT-Bones"


def showRendering(volumeNode: Any, presetName: str, logic: Any) -> Any:
    """Show a volume in 3D with one of Slicer's presets; returns its display node.

    ``logic`` is that of the Volume Rendering module. Raises RuntimeError when Slicer has no preset of this name.
    """
    preset = logic.GetPresetByName(presetName)
    if preset is None:
        raise RuntimeError(_("Slicer has no volume rendering preset '{name}'.").format(name=presetName))
    display = logic.CreateDefaultVolumeRenderingNodes(volumeNode)
    display.GetVolumePropertyNode().Copy(preset)
    display.SetVisibility(True)
    return display
