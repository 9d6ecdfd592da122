"""The CT as DICOM series marked as synthetic, and the mask as segmentation; or the reason why that is impossible."""

from __future__ import annotations

import unicodedata
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
_INSTANCES = "DICOM.instanceUIDs"
"""Attribute of a volume by which QuantitativeReporting finds its files in the database."""


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


def segExportReason(modules: Any = None, database: Any = None) -> str:
    """Why a mask cannot be exported as DICOM segmentation here; empty when it can.

    database: ctkDICOMDatabase; None: Slicer's.
    """
    modules = modules or slicer.modules
    plugins = getattr(modules, "dicomPlugins", {})
    ownPlugin = hasattr(plugins.get(_SEG_PLUGIN), "_dcmqi_binary")  # Slicer 5.13 has it without extensions
    if _SEG_PLUGIN not in plugins or not (ownPlugin or hasattr(modules, "quantitativereporting")):
        return _("Install the extension QuantitativeReporting first, or save the mask as .seg.nrrd.")
    if not (ownPlugin or hasattr(modules, "itkimage2segimage")):
        return _("Install the extension DCMQI first, which QuantitativeReporting uses, or save the mask as .seg.nrrd.")
    database = database or getattr(slicer, "dicomDatabase", None)
    if database is None or not database.isOpen:
        return _("Slicer's DICOM database is not open: open the module DICOM once. Or save the mask as .seg.nrrd.")
    return ctExportReason(modules)


def exportCt(volumeNode: Any, folder: Path, seed: int | None = None, modules: Any = None) -> list[Path]:
    """Write a CT as DICOM series into ``folder``; returns its files in the order of the slices.

    Every file says that it is synthetic; so do patient and study in the subject hierarchy. Raises RuntimeError with
    the reason.
    """
    modules = modules or slicer.modules
    _stop(ctExportReason(modules))
    item = _withPatientAndStudy(volumeNode)
    folder.mkdir(parents=True, exist_ok=True)
    before = _files(folder)
    tags = syntheticTags(volumeNode.GetName(), seed)
    plain = {tag: _ascii(value) for tag, value in tags.items()}
    _export(modules.dicomPlugins[_CT_PLUGIN](), item, plain, folder)
    written = sorted(path for path, state in _files(folder).items() if before.get(path) != state)
    markSynthetic(written, tags["SeriesDescription"])
    return written


def exportSeg(
    segmentationNode: Any,
    volumeNode: Any,
    folder: Path,
    seed: int | None = None,
    modules: Any = None,
    database: Any = None,
) -> None:
    """Write a mask as DICOM segmentation of its CT into ``folder``. Raises RuntimeError with the reason.

    A DICOM segmentation refers to the images of a series that is in the DICOM database, and takes patient and study
    from them. Unless that is so, the CT is exported into ``folder`` first and copied into the database.
    """
    modules, database = modules or slicer.modules, database or getattr(slicer, "dicomDatabase", None)
    _stop(segExportReason(modules, database))
    folder.mkdir(parents=True, exist_ok=True)
    if not _isInDatabase(volumeNode, database):
        _putIntoDatabase(volumeNode, exportCt(volumeNode, folder, seed, modules), database)
    segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    hierarchy, volumeItem = hierarchyItem(volumeNode)
    _hierarchy, item = hierarchyItem(segmentationNode)
    hierarchy.SetItemParent(item, hierarchy.GetItemParent(volumeItem))
    constants = slicer.vtkMRMLSubjectHierarchyConstants
    uids = volumeNode.GetAttribute(_INSTANCES)
    hierarchy.SetItemAttribute(item, constants.GetDICOMReferencedInstanceUIDsAttributeName(), uids)
    description = _ascii(syntheticTags(segmentationNode.GetName(), seed)["SeriesDescription"])
    tags = {"Modality": "SEG", "SeriesDescription": description}
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


def markSynthetic(files: Iterable[Path], description: str) -> None:
    """Write into DICOM files what Slicer's exporter has no field for, or writes in ASCII only.

    Image comments, that nothing was acquired, and the series description with its character set.
    """
    import pydicom

    for path in files:
        dataset = pydicom.dcmread(path)
        dataset.SpecificCharacterSet = "ISO_IR 192"  # UTF-8
        dataset.SeriesDescription = description
        dataset.ImageComments = COMMENT
        dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
        dataset.DerivationDescription = COMMENT
        dataset.save_as(path)


def _isInDatabase(volumeNode: Any, database: Any) -> bool:
    uids = (volumeNode.GetAttribute(_INSTANCES) or "").split()
    return bool(uids) and all(database.fileForInstance(uid) for uid in uids)


def _putIntoDatabase(volumeNode: Any, files: list[Path], database: Any) -> None:
    """Copy a series into the database, and note on the node and in the subject hierarchy which it is."""
    import pydicom

    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in files]
    for path in files:
        database.insert(str(path))
    uids = " ".join(header.SOPInstanceUID for header in headers)
    volumeNode.SetAttribute(_INSTANCES, uids)
    if not _isInDatabase(volumeNode, database):
        volumeNode.RemoveAttribute(_INSTANCES)
        _stop(_("The CT could not be copied into the DICOM database; is there enough space?"))
    hierarchy, item = hierarchyItem(volumeNode)
    constants = slicer.vtkMRMLSubjectHierarchyConstants
    hierarchy.SetItemUID(item, constants.GetDICOMUIDName(), headers[0].SeriesInstanceUID)
    hierarchy.SetItemUID(item, constants.GetDICOMInstanceUIDName(), uids)
    hierarchy.SetItemUID(hierarchy.GetItemParent(item), constants.GetDICOMUIDName(), headers[0].StudyInstanceUID)


def _ascii(text: str) -> str:
    """Text for programs that may not say which character set they write."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")


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


def _files(folder: Path) -> dict[Path, tuple[int, int]]:
    """Files with their time and inode: an export into the same folder again may take the same names."""
    states = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    return {path: (state.st_mtime_ns, state.st_ino) for path, state in states.items()}


def _stop(reason: str) -> None:
    if reason:
        raise RuntimeError(reason)
