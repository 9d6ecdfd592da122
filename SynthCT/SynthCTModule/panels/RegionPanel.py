"""Region and grid: which part of the body, size and spacing by the model's rules, field of view, time and memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from SynthCTModule.GridBox import showGridBox
from SynthCTModule.panels.Panel import Panel, choose, quiet, setEnabled
from SynthCTModule.PanelSettings import readParameters
from SynthCTModule.Parameters import sizesInWords
from SynthCTModule.Translation import _
from SynthCTModule.VoxelGrid import Grid

BOX_ATTRIBUTE = "SynthCT.GridBox"
"""Marks the box of the field of view."""
_OF_A_MASK = ("regionComboBox", "customGridCheckBox")
"""What only means something where a segmentation is painted."""
_SIZES = ("sizeX", "sizeY", "sizeZ")
_SPACINGS = {"spacingInPlane": 0, "spacingSlice": 2}
"""Axis of each."""


class RegionPanel(Panel):
    """Section *Region and grid*."""

    def setup(self) -> None:
        self._modelId = ""
        self._tips = {name: getattr(self.ui, name).toolTip for name in (*_OF_A_MASK, "sizeYComboBox")}
        for name in _SIZES:
            box = getattr(self.ui, f"{name}ComboBox")
            box.connect("currentIndexChanged(int)", lambda _index, name=name: self._onSize(name))

    def update(self) -> None:
        card = self.card()
        takesMask = card is None or card.takes_mask
        reason = "" if takesMask else _("The chosen model has one region, size and spacing, which its card states.")
        for name in _OF_A_MASK:
            setEnabled(getattr(self.ui, name), reason, self._tips[name])
        self.ui.customGridWidget.visible = self.node.customGrid and takesMask
        if self._modelId != self.node.modelId or not all(getattr(self.node, name) for name in (*_SIZES, *_SPACINGS)):
            self._showRules()
        for name in _SIZES:
            choose(getattr(self.ui, f"{name}ComboBox"), getattr(self.node, name))
        parameters = readParameters(self.node, self.logic.modelsFolder())
        grid, problem = self.logic.plan(self.node.inputNode, parameters, self.node.labelScheme.value)
        self.ui.fieldOfViewLabel.text = problem or gridInWords(grid)
        self._showBox(grid)
        self.ui.estimateLabel.text = self.logic.estimateText(parameters, grid) if grid else "–"

    def _showRules(self) -> None:
        """The sizes and spacings that the model allows."""
        from SynthCTLib.grid import axis_rules

        card = self.card()
        if card is None or not card.takes_mask:
            return
        self._modelId = card.id
        rules, default = axis_rules(card.grid), card.grid["defaults"]["*"]
        self._square = bool(card.grid.get("square", True))
        for name, rule in zip(_SIZES, rules, strict=True):
            box = getattr(self.ui, f"{name}ComboBox")
            with quiet(box):
                box.clear()
                for size in rule.sizes:
                    box.addItem(str(size), size)
            if getattr(self.node, name) not in rule.sizes:
                setattr(self.node, name, int(default["size"][_SIZES.index(name)]))
        for name, axis in _SPACINGS.items():
            if not getattr(self.node, name):
                setattr(self.node, name, float(default["spacing"][axis]))
        square = _("This model makes square slices: the same as the first size.") if self._square else ""
        setEnabled(self.ui.sizeYComboBox, square, self._tips["sizeYComboBox"])
        text = _("This model: {inPlane} voxels of {low}–{high} mm in slices, {along} slices of {zLow}–{zHigh} mm.")
        self.ui.gridRulesLabel.text = text.format(
            inPlane=sizesInWords(rules[0].sizes),
            low=rules[0].low,
            high=rules[0].high,
            along=sizesInWords(rules[2].sizes),
            zLow=rules[2].low,
            zHigh=rules[2].high,
        )

    def _onSize(self, name: str) -> None:
        if self.node is None:
            return
        size = getattr(self.ui, f"{name}ComboBox").currentData
        if size is None:
            return
        setattr(self.node, name, int(size))
        if name == "sizeX" and self._square:
            self.node.sizeY = int(size)

    def _showBox(self, grid: Grid | None) -> None:
        box = _gridBox()
        if grid is not None and self.node.showGridBox:
            box = showGridBox(grid, _("SynthCT field of view"), box=box)
            box.SetAttribute(BOX_ATTRIBUTE, "1")
            box.SetDisplayVisibility(True)
        elif box is not None:
            slicer.mrmlScene.RemoveNode(box)


def gridInWords(grid: Grid | None) -> str:
    """``128 × 128 × 96 voxels of 3.2 × 3.2 × 3.5 mm, 410 × 410 × 336 mm in all``."""
    if grid is None:
        return ""
    spacing = np.linalg.norm(grid.affine[:3, :3], axis=0)
    text = _("{voxels} voxels of {spacing} mm\n{extent} mm in all")
    return text.format(
        voxels=" × ".join(map(str, grid.shape)),
        spacing=" × ".join(f"{step:.3g}" for step in spacing),
        extent=" × ".join(f"{size * step:.0f}" for size, step in zip(grid.shape, spacing, strict=True)),
    )


def _gridBox() -> Any:
    for index in range(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode")):
        node = slicer.mrmlScene.GetNthNodeByClass(index, "vtkMRMLMarkupsROINode")
        if node.GetAttribute(BOX_ATTRIBUTE):
            return node
    return None
