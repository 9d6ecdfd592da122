"""All panels in the order of the work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from SynthCTModule.panels.AnatomyPanel import AnatomyPanel
from SynthCTModule.panels.EditorPanel import EditorPanel
from SynthCTModule.panels.GeneratePanel import GeneratePanel
from SynthCTModule.panels.LabelPicker import LabelPicker
from SynthCTModule.panels.ModelPanel import ModelPanel
from SynthCTModule.panels.Panel import Panel
from SynthCTModule.panels.QuizPanel import QuizPanel
from SynthCTModule.panels.RegionPanel import RegionPanel
from SynthCTModule.panels.ResultPanel import ResultPanel
from SynthCTModule.panels.SetupPanel import SetupPanel
from SynthCTModule.panels.StructurePanel import StructurePanel
from SynthCTModule.panels.TeachingPanel import TeachingPanel

PANELS = (
    SetupPanel,
    RegionPanel,
    AnatomyPanel,
    LabelPicker,
    StructurePanel,
    EditorPanel,
    ModelPanel,
    GeneratePanel,
    ResultPanel,
    TeachingPanel,
    QuizPanel,
)


def makePanels(ui: Any, logic: Any, parameters: Callable[[], Any]) -> list[Panel]:
    """One of each. ui: the widgets by name. logic: the Workbench. parameters: gives the parameter node or None."""
    return [panel(ui, logic, parameters) for panel in PANELS]
