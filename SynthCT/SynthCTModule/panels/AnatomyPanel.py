"""Anatomy: pick a case, load a file, take any segmentation or label map, or start from an empty grid; check it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import qt
import slicer

from SynthCTModule.Cases import allCases, loadCase, openCaseFile, sampleCase
from SynthCTModule.CaseView import applyLayout
from SynthCTModule.FileCheck import isComplete
from SynthCTModule.GridBox import drawOn, templateVolume
from SynthCTModule.GridPlan import emptyGrid
from SynthCTModule.LabelGroups import regionName
from SynthCTModule.panels.LabelPicker import chosenLabel
from SynthCTModule.panels.Panel import Panel, quiet, setEnabled, shownErrors
from SynthCTModule.panels.ProblemTable import ProblemTable
from SynthCTModule.PanelSettings import applyCaseSettings, readParameters
from SynthCTModule.SegmentationCheck import SET_LABEL, Problem, checkSegmentation
from SynthCTModule.Translation import _
from SynthCTModule.Views import fitViews

FILES = "*.nii *.nii.gz *.nrrd *.seg.nrrd"


class AnatomyPanel(Panel):
    """Section *Anatomy*, as far as it chooses and checks."""

    def setup(self) -> None:
        self._cases: dict[str, Any] = {}
        self._checkTip = self.ui.checkButton.toolTip
        self._problems = ProblemTable(self.ui.problemTable, self._onFix)
        self._showCases()
        ui = self.ui
        ui.sampleCaseButton.connect("clicked(bool)", self.onSampleCase)
        ui.caseComboBox.connect("currentIndexChanged(int)", self._onCaseChosen)
        ui.loadCaseButton.connect("clicked(bool)", self._onLoadCase)
        ui.healthyCaseButton.connect("clicked(bool)", self._onHealthyCase)
        ui.loadFileButton.connect("clicked(bool)", self._onLoadFile)
        ui.templateButton.connect("clicked(bool)", self._onTemplate)
        ui.checkButton.connect("clicked(bool)", self.check)
        ui.openCaseButton.connect("clicked(bool)", self._onOpenCase)
        self.logic.input.changed.connect(lambda: self._show([], ""))
        self.logic.inputProblems.connect(self._onRunProblems)
        self._onCaseChosen()

    def update(self) -> None:
        node = self.node.inputNode
        reason = "" if node is not None else _("Choose an anatomy: load a case or a file, or select a segmentation.")
        setEnabled(self.ui.checkButton, reason, self._checkTip)
        text = _maskless(self.card())
        self.ui.noMaskLabel.text = text
        self.ui.noMaskLabel.visible = bool(text)
        isLabelMap = node is not None and node.IsA("vtkMRMLLabelMapVolumeNode")
        self.ui.schemeComboBox.visible = isLabelMap
        self.ui.schemeCaption.visible = isLabelMap
        if self._problems.inputNode is not self.node.inputNode:
            self._show([], "")
        self._problems.allow(self.logic.unchangeable())

    def onSampleCase(self, _checked: bool = False) -> None:
        """Load the sample case with its settings."""
        with shownErrors():
            self._load(sampleCase())

    def check(self, _checked: bool = False) -> None:
        """List all problems of the chosen anatomy, until it is changed again."""
        self.logic.input.settle()
        node = self.node.inputNode
        with shownErrors():
            if node.IsA("vtkMRMLLabelMapVolumeNode"):
                self._show(self.logic.labelmapProblems(node, self.node.labelScheme.value))
            else:
                self._show(checkSegmentation(node))

    def _show(self, problems: list[Problem], summary: str | None = None) -> None:
        self._problems.show(problems, self.node.inputNode)
        self.ui.checkSummaryLabel.text = _summary(problems) if summary is None else summary

    def _showCases(self) -> None:
        with shownErrors():
            self._cases = {str(case.path.parent): case for case in allCases()}
        box = self.ui.caseComboBox
        with quiet(box):
            box.clear()
            for folder, case in self._cases.items():
                box.addItem(case.title, folder)

    def _onCaseChosen(self, _index: int = 0) -> None:
        case = self._cases.get(self.ui.caseComboBox.currentData)
        text = _caseText(case) if case else ""
        self.ui.caseDescriptionLabel.text = case.description if case else ""
        self.ui.caseTextEdit.plainText = text
        self.ui.caseTextEdit.visible = bool(text)
        self.ui.healthyCaseButton.visible = self._healthyCase() is not None

    def _healthyCase(self) -> Any:
        """The case with the anatomy of the chosen one, but without its lesion; None when there is none."""
        case = self._cases.get(self.ui.caseComboBox.currentData)
        healthy = case.pair.healthy if case and case.pair else None
        return next((other for other in self._cases.values() if other.id == healthy), None)

    def _onHealthyCase(self, _checked: bool = False) -> None:
        with shownErrors():
            self._load(self._healthyCase())

    def _onLoadCase(self, _checked: bool = False) -> None:
        case = self._cases.get(self.ui.caseComboBox.currentData)
        if case is not None:
            with shownErrors():
                self._load(case)

    def _load(self, case: Any) -> None:
        self.use(loadCase(case), case.view)
        applyCaseSettings(self.node, case.settings)

    def use(self, node: Any, view: Mapping[str, Any] | None = None) -> None:
        """Make a node the anatomy of the next run and show it, as its case says where it has one."""
        self.node.inputNode = node
        applyLayout(view or {}, node)
        fitViews(node)

    def _onLoadFile(self, _checked: bool = False) -> None:
        path = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(), _("Segmentation or label map"), "", f"{_('Segmentations')} ({FILES})"
        )
        if path:
            with shownErrors():
                self.use(loadFile(Path(path)))

    def _onTemplate(self, _checked: bool = False) -> None:
        with shownErrors():
            volume = templateVolume(emptyGrid(readParameters(self.node, self.logic.modelsFolder())), _("Empty grid"))
            node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", _("Own anatomy"))
            node.CreateDefaultDisplayNodes()
            drawOn(node, volume)
            slicer.util.setSliceViewerLayers(background=volume, fit=True)
            self.use(node)
            self.ui.labelsGroupBox.collapsed = False
            self.ui.editorGroupBox.collapsed = False

    def _onOpenCase(self, _checked: bool = False) -> None:
        path = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(), _("Case file"), "", f"{_('SynthCT cases')} (*.synthct-case)"
        )
        if path:
            with shownErrors():
                case = openCaseFile(Path(path))
                self._showCases()
                self.ui.caseComboBox.setCurrentIndex(self.ui.caseComboBox.findData(str(case.path.parent)))
                self._load(case)

    def _onFix(self, problem: Problem, labelId: int | None) -> None:
        with shownErrors():
            if problem.fix == SET_LABEL and labelId is None:
                labelId = chosenLabel(self.ui.labelTree)
            self.logic.fix(problem, self.node.inputNode, labelId, self.node.modelId, self._onFixed)

    def _onFixed(self, node: Any, sentence: str) -> None:
        """A fix has been made, or has failed (no node); the table shows what is left."""
        if node is None:
            slicer.util.errorDisplay(sentence)
        elif self.node is not None:
            self.node.inputNode = node
            self.check()

    def _onRunProblems(self, node: Any, problems: list[Problem]) -> None:
        """A run has found problems in an anatomy; shown while that is still the chosen one."""
        if self.node is not None and node is self.node.inputNode:
            self._show(problems)


def _maskless(card: Any) -> str:
    """What a model makes that takes no segmentation; empty for others."""
    if card is None or card.takes_mask:
        return ""
    regions = " + ".join(map(regionName, card.trained_on["regions"])) or _("a region that its card does not state")
    text = _(
        "The chosen model takes no segmentation: nothing is needed here. It makes {modality} images of: {regions}."
    )
    return text.format(modality=card.modality.upper(), regions=regions)


def _caseText(case: Any) -> str:
    """What a case tells students: the clinical text, then the learning goals."""
    goals = "\n".join(f"• {goal}" for goal in case.learning_goals)
    parts = (case.clinical_text, f"{_('Learning goals:')}\n{goals}" if goals else "")
    return "\n\n".join(part for part in parts if part)


def loadFile(path: Path) -> Any:
    """Load a segmentation file as segmentation node, another one as label map. Raises RuntimeError when that fails."""
    if not isComplete(path):
        raise RuntimeError(_("'{name}' is cut off or damaged; get it again.").format(name=path.name))
    if path.name.lower().endswith(".seg.nrrd"):
        return slicer.util.loadSegmentation(str(path))
    return slicer.util.loadLabelVolume(str(path))


def _summary(problems: list[Problem]) -> str:
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = sum(problem.severity == "warning" for problem in problems)
    if errors:
        return _("To be solved before a run: {errors}. Warnings: {warnings}").format(errors=errors, warnings=warnings)
    if warnings:
        return _("Can be used. Warnings: {warnings}").format(warnings=warnings)
    return _("Ready for a run") if not problems else _("Ready for a run. Hints: {count}").format(count=len(problems))
