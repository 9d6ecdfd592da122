"""The CT as DICOM series marked as synthetic, and the mask as segmentation; or the reason why that is impossible."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import slicer

from SynthCTModule.ResultNodes import hierarchyItem
from SynthCTModule.Translation import _

MARK = "SYNTHETIC"
COMMENT = "SYNTHETIC image made by SynthCT from a segmentation. Not a patient, not for clinical use."
_CT_PLUGIN = "DICOMScalarVolumePlugin"
_SEG_PLUGIN = "DICOMSegmentationPlugin"


def syntheticTags(name: str, seed: int | None) -> dict[str, str]:
    """Tags of Slicer's DICOM exporter for a CT, all of which say that it is synthetic."""
    number = f", seed {seed}" if seed is not None else ""
    return {
        "PatientName": f"{MARK}^SynthCT",
        "PatientID": f"{MARK}-SynthCT",
        "PatientComments": COMMENT,
        "StudyDescription": f"{MARK} SynthCT",
        "SeriesDescription": f"{MARK} {name}{number}"[:64],  # the longest text that DICOM allows here
        "Modality": "CT",
        "Manufacturer": "SynthCT",
        "Model": "SynthCT",
    }


def ctExportReason(modules: Any = None) -> str:
    """Why a CT cannot be exported to DICOM here; empty when it can."""
    modules = modules or slicer.modules
    if _CT_PLUGIN not in getattr(modules, "dicomPlugins", {}):
        return _("This Slicer was built without the DICOM module; save the CT as NRRD or NIfTI instead.")
    if not hasattr(modules, "createdicomseries"):
        return _("This Slicer lacks the module Create DICOM Series; save the CT as NRRD or NIfTI instead.")
    return ""


def segExportReason(modules: Any = None) -> str:
    """Why a mask cannot be exported as DICOM segmentation here; empty when it can."""
    plugins = getattr(modules or slicer.modules, "dicomPlugins", {})
    if _SEG_PLUGIN not in plugins or not hasattr(modules or slicer.modules, "quantitativereporting"):
        return _("Install the extension QuantitativeReporting first, or save the mask as .seg.nrrd.")
    return ""


def exportCt(volumeNode: Any, folder: Path, seed: int | None = None, modules: Any = None) -> list[Path]:
    """Write a CT node as DICOM series into ``folder``; returns the files. Raises RuntimeError with the reason."""
    modules = modules or slicer.modules
    _stop(ctExportReason(modules))
    item = _withPatientAndStudy(volumeNode)
    folder.mkdir(parents=True, exist_ok=True)
    before = set(_files(folder))
    _export(modules.dicomPlugins[_CT_PLUGIN](), item, syntheticTags(volumeNode.GetName(), seed), folder)
    written = sorted(set(_files(folder)) - before)
    markSynthetic(written)
    return written


def exportSeg(segmentationNode: Any, folder: Path, seed: int | None = None, modules: Any = None) -> None:
    """Write a mask as DICOM segmentation into ``folder``. Raises RuntimeError with the reason."""
    modules = modules or slicer.modules
    _stop(segExportReason(modules))
    item = _withPatientAndStudy(segmentationNode)
    tags = {**syntheticTags(segmentationNode.GetName(), seed), "Modality": "SEG"}
    folder.mkdir(parents=True, exist_ok=True)
    _export(modules.dicomPlugins[_SEG_PLUGIN](), item, tags, folder)


def saveMask(segmentationNode: Any, path: Path) -> None:
    """Write a mask as Slicer segmentation (.seg.nrrd) with names, terminology and label ids.

    It appears complete or not at all. Raises ValueError for another ending, RuntimeError when it cannot be written.
    """
    if not path.name.lower().endswith(".seg.nrrd"):
        raise ValueError(_("A mask is saved as .seg.nrrd, not as '{name}'.").format(name=path.name))
    part = path.with_name(f".part-{path.name}")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(part))
    try:
        if not storage.WriteData(segmentationNode):
            raise RuntimeError(_("{path} cannot be written; check the folder and the free space.").format(path=path))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def markSynthetic(files: Iterable[Path]) -> None:
    """Write into DICOM files what Slicer's exporter has no field for: image comments, and that nothing was acquired."""
    import pydicom

    for path in files:
        dataset = pydicom.dcmread(path)
        dataset.ImageComments = COMMENT
        dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
        dataset.DerivationDescription = COMMENT
        dataset.save_as(path)


def _export(plugin: Any, item: int, tags: dict[str, str], folder: Path) -> None:
    exportables = plugin.examineForExport(item)
    for exportable in exportables:
        exportable.directory = str(folder)
        for tag, value in tags.items():
            exportable.setTag(tag, value)
    _stop(plugin.export(exportables) if exportables else _("Slicer offers no DICOM export for this node."))


def _withPatientAndStudy(node: Any) -> int:
    """The subject hierarchy item of a node, which the exporter wants in a study of a patient; they are made if need be.

    A patient and a study of the user's own stay as they are: the result is put into synthetic ones.
    """
    hierarchy, item = hierarchyItem(node)
    constants = slicer.vtkMRMLSubjectHierarchyConstants
    patient = hierarchy.GetItemAncestorAtLevel(item, constants.GetDICOMLevelPatient())
    if not patient or not hierarchy.GetItemName(patient).startswith(MARK):
        patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), f"{MARK} {node.GetName()}")
        study = hierarchy.CreateStudyItem(patient, f"{MARK} SynthCT")
        hierarchy.SetItemParent(item, study)
    return item


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _stop(reason: str) -> None:
    if reason:
        raise RuntimeError(reason)
