"""Result: organ check, windows, volume rendering, comparison and export of a synthetic CT."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import qt
import slicer

from SynthCTModule.Cases import caseOf
from SynthCTModule.CaseView import applyImageView
from SynthCTModule.DicomExport import ctExportReason, exportCt, exportSeg, saveMask, segExportReason
from SynthCTModule.GridBox import templateIds
from SynthCTModule.OrganCheckTable import labelCenters, organRows
from SynthCTModule.panels.OrganTable import OrganTable
from SynthCTModule.panels.Panel import Panel, quiet, setEnabled, shownErrors
from SynthCTModule.panels.SavePath import savePath
from SynthCTModule.PanelSettings import writeParameters
from SynthCTModule.Parameters import parametersFromJson
from SynthCTModule.ResultNodes import (
    MASK_ROLE,
    ResultNodes,
    modalityOf,
    showResult,
    storedReport,
    storedSeed,
    storedSettings,
)
from SynthCTModule.SaveCt import saveCt
from SynthCTModule.SegmentationExchange import composeSegmentation
from SynthCTModule.Steps import Steps
from SynthCTModule.Translation import _
from SynthCTModule.Views import fitViews, showSideBySide
from SynthCTModule.WindowPresets import RENDERINGS, applyWindow, renderingPreset, showRendering

_WINDOWS = {"Lung": "lung", "SoftTissue": "softTissue", "Bone": "bone", "Brain": "brain"}
_NEED_CT = ("compareButton", "exportNiftiButton", "exportSegmentationButton", "volumeRenderingButton")

_DICOM = ("exportDicomButton", "exportDicomSegButton")


class ResultPanel(Panel):
    """Section *Result*."""

    def setup(self) -> None:
        ui = self.ui
        self._shown: Any = None
        self._export = Steps()
        windows = [f"window{name}Button" for name in _WINDOWS]
        self._tips = {name: getattr(ui, name).toolTip for name in ("useSettingsButton", *_NEED_CT, *_DICOM, *windows)}
        self._organs = OrganTable(ui.organTable)
        for widget, preset in _WINDOWS.items():
            button = getattr(ui, f"window{widget}Button")
            button.connect("clicked(bool)", lambda _checked, preset=preset: applyWindow(self.node.resultVolume, preset))
        ui.useSettingsButton.connect("clicked(bool)", self._onUseSettings)
        ui.volumeRenderingButton.connect("toggled(bool)", self._onRendering)
        ui.volumeRenderingComboBox.connect("currentIndexChanged(int)", lambda _index: self._onPreset())
        ui.compareButton.connect("clicked(bool)", self._onCompare)
        ui.exportNiftiButton.connect("clicked(bool)", self._onExportCt)
        ui.exportSegmentationButton.connect("clicked(bool)", self._onExportMask)
        ui.exportDicomButton.connect("clicked(bool)", self._onExportDicom)
        ui.exportDicomSegButton.connect("clicked(bool)", self._onExportDicomSeg)
        self.logic.resultsImported.connect(self._onImported)

    def exit(self) -> None:
        """An export goes on in another module, and ends with the scene."""
        if self.node is None:
            self._export.stop()

    def update(self) -> None:
        for selector in (self.ui.resultSelector, self.ui.compareSelector):
            selector.sortFilterProxyModel().hiddenNodeIDs = templateIds()
        ct = self.node.resultVolume
        report = storedReport(ct) if ct is not None else None
        self._enable(ct, report)
        if ct is self._shown:
            return
        self._shown = ct
        self.ui.resultSummaryLabel.text = _summary(ct, report)
        mask = self.mask()
        self._organs.show(organRows(report, {}) if report else [], lambda: organRows(report, _centers(mask)))
        self._showRenderings(report)

    def mask(self) -> Any:
        """The segmentation that the chosen CT was made from, or None."""
        ct = self.node.resultVolume
        return ct.GetNodeReference(MASK_ROLE) if ct is not None else None

    def _enable(self, ct: Any, report: Any) -> None:
        ui = self.ui
        none = "" if ct is not None else _("There is no CT yet.")
        unitless = _("These windows are in HU, which an MR image does not have.") if _isMr(report) else ""
        for name in (f"window{widget}Button" for widget in _WINDOWS):
            setEnabled(getattr(ui, name), none or unitless, self._tips[name])
        for name in _NEED_CT:
            setEnabled(getattr(ui, name), none, self._tips[name])
        if ct is not None and not hasattr(slicer.modules, "volumerendering"):
            setEnabled(ui.volumeRenderingButton, _("This Slicer lacks the module Volume Rendering."), "")
        if ct is not None and self.node.compareVolume is None:
            setEnabled(ui.compareButton, _("Choose the other volume first."), "")
        maskless = none or ("" if self.mask() is not None else _("This volume has no label map of SynthCT."))
        setEnabled(ui.exportSegmentationButton, maskless, self._tips["exportSegmentationButton"])
        busy = _("DICOM files are being written; wait a moment.") if self._export.busy else ""
        setEnabled(ui.exportDicomButton, busy or none or ctExportReason(), self._tips["exportDicomButton"])
        setEnabled(ui.exportDicomSegButton, busy or maskless or segExportReason(), self._tips["exportDicomSegButton"])
        foreign = none or ("" if report is not None else _("This volume was not made by SynthCT."))
        setEnabled(ui.useSettingsButton, foreign, self._tips["useSettingsButton"])
        ui.organTable.visible = bool(report and report.get("organs")) and not self.node.studentMode

    def _onImported(self, results: list[ResultNodes]) -> None:
        """A run has ended: show its last CT."""
        if self.node is None:
            return
        self.ui.resultCollapsibleButton.collapsed = False
        self.node.resultVolume = results[-1].ct
        showResult(results[-1])
        view = self._caseView()
        for result in results:
            applyImageView(view, result.ct)
        fitViews()

    def _caseView(self) -> Mapping[str, Any]:
        """How the case wants its CT to be shown; empty without a case, and for a CT that was made without anatomy."""
        case = caseOf(self.node.inputNode) if self.mask() is not None else None
        return case.view if case else {}

    def _onUseSettings(self, _checked: bool = False) -> None:
        settings = storedSettings(self.node.resultVolume)
        if settings:
            with shownErrors():
                writeParameters(self.node, parametersFromJson(settings))

    def _showRenderings(self, report: Any) -> None:
        names = RENDERINGS["mr" if _isMr(report) else "ct"]
        fitting = names[0] if report is None or _isMr(report) else renderingPreset(report.get("region", ()))
        suggested = self._caseView().get("volume_rendering") or fitting
        box = self.ui.volumeRenderingComboBox
        with quiet(box):
            box.clear()
            for name in dict.fromkeys((suggested, *names)):
                box.addItem(name, name)
        with quiet(self.ui.volumeRenderingButton):
            self.ui.volumeRenderingButton.checked = False

    def _onRendering(self, on: bool) -> None:
        ct = self.node.resultVolume
        logic = slicer.modules.volumerendering.logic()
        with shownErrors():
            if on:
                showRendering(ct, self.ui.volumeRenderingComboBox.currentData, logic)
                slicer.util.resetThreeDViews()
                return
            display = logic.GetFirstVolumeRenderingDisplayNode(ct)
            if display is not None:
                display.SetVisibility(False)

    def _onPreset(self) -> None:
        if self.ui.volumeRenderingButton.checked:
            self._onRendering(True)

    def _onCompare(self, _checked: bool = False) -> None:
        showSideBySide(self.node.resultVolume, self.node.compareVolume)

    def _onExportCt(self, _checked: bool = False) -> None:
        path = savePath(_("Save the CT"), self.node.resultVolume.GetName(), (".nii.gz", ".nrrd"))
        if path:
            with shownErrors():
                saveCt(self.node.resultVolume, path)

    def _onExportMask(self, _checked: bool = False) -> None:
        path = savePath(_("Save the label map"), self.mask().GetName(), (".seg.nrrd",))
        if path:
            with shownErrors():
                saveMask(self.mask(), path)

    def _onExportDicom(self, _checked: bool = False) -> None:
        ct = self.node.resultVolume
        self._inSteps(lambda folder: exportCt(ct, folder, storedSeed(ct)))

    def _onExportDicomSeg(self, _checked: bool = False) -> None:
        ct, mask = self.node.resultVolume, self.mask()
        self._inSteps(lambda folder: exportSeg(mask, ct, folder, storedSeed(ct)))

    def _inSteps(self, export: Callable[[Path], Generator[None, None, Any]]) -> None:
        """Ask for a folder, and write into it while the window stays alive."""
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder for the DICOM files"))
        if folder:
            self._export.start(export(Path(folder)), lambda error: self._exported(folder, error))
            slicer.util.showStatusMessage(_("Writing DICOM files…"))
            self.update()

    def _exported(self, folder: str, error: Exception | None) -> None:
        slicer.util.showStatusMessage(
            "" if error is not None else _("The DICOM files are in {folder}.").format(folder=folder)
        )
        self.update()
        with shownErrors():
            if error is not None:
                raise error


def _centers(mask: Any) -> Any:
    """A place in each structure of a result; it takes long for a large one."""
    composed, _segments = composeSegmentation(mask) if mask is not None else (None, ())
    return labelCenters(composed.array, composed.grid.affine) if composed and composed.grid else {}


def _summary(ct: Any, report: Any) -> str:
    if ct is None:
        return _("No CT yet.")
    if report is None:
        return _("This volume was not made by SynthCT.")
    text = _("Seed {seed} · {model}\n{verdict}")
    return text.format(seed=report.get("seed"), model=report["model"]["id"], verdict=_verdict(report))


def _verdict(report: Any) -> str:
    if "organs" not in report:
        return _("Made without a segmentation, so that no organ could be checked.")
    return _("All organ groups are in order.") if report.get("passed") else _("Some organ groups look implausible.")


def _isMr(report: Any) -> bool:
    return report is not None and modalityOf(report) == "mr"
