"""The CT as DICOM series marked as synthetic, and the mask as segmentation; or the reason why that is impossible.

Slicer's module Create DICOM Series writes the files in a process of its own. Its DICOM export plugin would wait for
that; here it is waited for in steps (SynthCTModule.Steps), so that Slicer's window stays alive.
"""

from __future__ import annotations

import itertools
import re
import shutil
import time
import unicodedata
import uuid
from collections.abc import Callable, Generator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import slicer

from SynthCTModule.ResultNodes import hierarchyItem, modalityOf, storedReport
from SynthCTModule.Translation import _
from SynthCTModule.WriteNode import writeNode

MARK = "SYNTHETIC"
COMMENT = "SYNTHETIC image made by SynthCT. Not a patient, not for clinical use."
_SEG_PLUGIN = "DICOMSegmentationPlugin"
INSTANCES_ATTRIBUTE = "DICOM.instanceUIDs"
"""Attribute of a volume by which QuantitativeReporting finds its files in the database."""
_PART, _STALE_SECONDS = ".SynthCT-", 3600
"""What folders of series that are not complete are called, and when they are nobody's any more."""

RunCli = Callable[..., Any]
"""As slicer.cli.run: starts a command line module and returns its node."""


def syntheticTags(name: str, seed: int | None, modality: str = "ct") -> dict[str, str]:
    """Parameters of Create DICOM Series for a CT (or MR), all of which say that it is synthetic."""
    number = f", seed {seed}" if seed is not None else ""
    return {
        "patientName": f"{MARK}^SynthCT",
        "patientID": f"{MARK}-SynthCT",
        "patientComments": COMMENT,
        "studyDescription": f"{MARK} SynthCT",
        "seriesDescription": f"{MARK} {name}{number}"[:64],  # the longest text that DICOM allows here
        "modality": modality.upper(),
        "manufacturer": "SynthCT",
        "model": "SynthCT",
    }


def ctExportReason(modules: Any = None) -> str:
    """Why a CT cannot be exported to DICOM here; empty when it can."""
    modules = modules or slicer.modules
    if not hasattr(modules, "createdicomseries"):
        return _("This Slicer lacks the module Create DICOM Series; save the CT as NRRD or NIfTI instead.")
    if find_spec("pydicom") is None:
        return _("This Slicer lacks the Python package pydicom; save the CT as NRRD or NIfTI instead.")
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


def exportCt(
    volumeNode: Any, folder: Path, seed: int | None = None, modules: Any = None, runCli: RunCli | None = None
) -> Generator[None, None, list[Path]]:
    """Write a CT as DICOM series into a new folder in ``folder``, in steps; returns its files in the order of slices.

    Every file says that it is synthetic; so do patient and study in the subject hierarchy. The series appears complete
    or not at all. Raises RuntimeError with the reason.
    """
    modules = modules or slicer.modules
    _stop(ctExportReason(modules))
    _putIntoSyntheticStudy(volumeNode)
    tags = syntheticTags(volumeNode.GetName(), seed, modalityOf(storedReport(volumeNode) or {}))
    folder.mkdir(parents=True, exist_ok=True)
    _removeLeftovers(folder)
    part = folder / f"{_PART}{uuid.uuid4().hex}"
    part.mkdir()  # open to others as the user's own folders are, unlike one of tempfile
    with ExitStack() as tidy:
        tidy.callback(shutil.rmtree, part, ignore_errors=True)
        node = _startWriting(volumeNode, part, tags, modules.createdicomseries, runCli or slicer.cli.run)
        tidy.callback(_tidyWhenEnded, node, part)
        yield from _untilWritten(node, folder)
        names = sorted(path.name for path in part.iterdir())
        for name in names:
            markSynthetic(part / name, tags["seriesDescription"])
            yield
        series = part.rename(_newFolder(folder, tags["seriesDescription"]))
    return [series / name for name in names]


def exportSeg(
    segmentationNode: Any,
    volumeNode: Any,
    folder: Path,
    seed: int | None = None,
    modules: Any = None,
    database: Any = None,
    runCli: RunCli | None = None,
) -> Generator[None, None, None]:
    """Write a mask as DICOM segmentation of its CT into ``folder``, in steps. Raises RuntimeError with the reason.

    A DICOM segmentation refers to the images of a series that is in the DICOM database, and takes patient and study
    from them. Unless that is so, the CT is exported into ``folder`` first and copied into the database.
    """
    modules, database = modules or slicer.modules, database or getattr(slicer, "dicomDatabase", None)
    _stop(segExportReason(modules, database))
    folder.mkdir(parents=True, exist_ok=True)
    if not _isInDatabase(volumeNode, database):
        files = yield from exportCt(volumeNode, folder, seed, modules, runCli)
        yield from _putIntoDatabase(volumeNode, files, database)
    segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    hierarchy, volumeItem = hierarchyItem(volumeNode)
    _hierarchy, item = hierarchyItem(segmentationNode)
    hierarchy.SetItemParent(item, hierarchy.GetItemParent(volumeItem))
    constants = slicer.vtkMRMLSubjectHierarchyConstants
    uids = volumeNode.GetAttribute(INSTANCES_ATTRIBUTE)
    hierarchy.SetItemAttribute(item, constants.GetDICOMReferencedInstanceUIDsAttributeName(), uids)
    description = _ascii(syntheticTags(segmentationNode.GetName(), seed)["seriesDescription"])
    _exportSegment(
        modules.dicomPlugins[_SEG_PLUGIN](), item, {"Modality": "SEG", "SeriesDescription": description}, folder
    )


def saveMask(segmentationNode: Any, path: Path) -> None:
    """Write a mask as Slicer segmentation (.seg.nrrd) with names, terminology and label ids.

    It appears complete or not at all. Raises ValueError for another ending, RuntimeError when it cannot be written.
    """
    if not path.name.lower().endswith(".seg.nrrd"):
        raise ValueError(_("A mask is saved as .seg.nrrd, not as '{name}'.").format(name=path.name))
    writeNode(segmentationNode, slicer.vtkMRMLSegmentationStorageNode(), path)


def markSynthetic(path: Path, description: str) -> None:
    """Write into a DICOM file what Slicer's writer has no field for, or writes in ASCII only.

    Image comments, that nothing was acquired, and the series description with its character set.
    """
    import pydicom

    dataset = pydicom.dcmread(path)
    dataset.SpecificCharacterSet = "ISO_IR 192"  # UTF-8
    dataset.SeriesDescription = description
    dataset.ImageComments = COMMENT
    dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    dataset.DerivationDescription = COMMENT
    dataset.save_as(path)


def _startWriting(volumeNode: Any, folder: Path, tags: dict[str, str], module: Any, runCli: RunCli) -> Any:
    """Start Create DICOM Series; returns its node."""
    import pydicom

    parameters = {name: _ascii(value) for name, value in tags.items()}
    for name in ("studyInstanceUID", "seriesInstanceUID", "frameOfReferenceUID"):
        parameters[name] = str(pydicom.uid.generate_uid())
    display = volumeNode.GetDisplayNode()
    if display is not None:
        parameters |= {"windowCenter": str(display.GetLevel()), "windowWidth": str(display.GetWindow())}
    return runCli(module, None, {**parameters, "inputVolume": volumeNode.GetID(), "dicomDirectory": str(folder)})


def _untilWritten(node: Any, folder: Path) -> Generator[None, None, None]:
    """Wait in steps for Create DICOM Series."""
    while node.IsBusy():
        yield
    if node.GetStatus() != node.Completed:
        text = _("The DICOM files could not be written; is there enough space in '{folder}'? {details}")
        _stop(text.format(folder=folder, details=node.GetErrorText()).strip())


def _tidyWhenEnded(node: Any, folder: Path) -> None:
    """Remove folder and node of Create DICOM Series; while it runs, as soon as it has listened to the cancel."""

    def tidy(*_event: Any) -> None:
        if node.IsBusy():
            return
        node.RemoveObserver(observer)
        shutil.rmtree(folder, ignore_errors=True)
        if node.GetScene() is not None:
            node.GetScene().RemoveNode(node)

    observer = node.AddObserver("ModifiedEvent", tidy)
    node.Cancel()  # does nothing when it has ended
    tidy()


def _removeLeftovers(folder: Path) -> None:
    """Remove what an export has left that ended with Slicer; a young one may be another Slicer's, at work."""
    for path in folder.glob(f"{_PART}*"):
        if time.time() - path.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def _newFolder(folder: Path, description: str) -> Path:
    """A folder for the series, named after it, that is not there yet."""
    name = re.sub(r"[^\w ,-]+", "_", _ascii(description)).strip()
    names = itertools.chain([name], (f"{name} {number}" for number in itertools.count(2)))
    return next(path for path in map(folder.joinpath, names) if not path.exists())


def _isInDatabase(volumeNode: Any, database: Any) -> bool:
    uids = (volumeNode.GetAttribute(INSTANCES_ATTRIBUTE) or "").split()
    return bool(uids) and all(database.fileForInstance(uid) for uid in uids)


def _putIntoDatabase(volumeNode: Any, files: list[Path], database: Any) -> Generator[None, None, None]:
    """Copy a series into the database, and note on the node and in the subject hierarchy which it is."""
    import pydicom

    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in files]
    for path in files:
        database.insert(str(path))
        yield
    uids = " ".join(header.SOPInstanceUID for header in headers)
    volumeNode.SetAttribute(INSTANCES_ATTRIBUTE, uids)
    if not _isInDatabase(volumeNode, database):
        volumeNode.RemoveAttribute(INSTANCES_ATTRIBUTE)
        _stop(_("The CT could not be copied into the DICOM database; is there enough space?"))
    hierarchy, item = hierarchyItem(volumeNode)
    constants = slicer.vtkMRMLSubjectHierarchyConstants
    hierarchy.SetItemUID(item, constants.GetDICOMUIDName(), headers[0].SeriesInstanceUID)
    hierarchy.SetItemUID(item, constants.GetDICOMInstanceUIDName(), uids)
    hierarchy.SetItemUID(hierarchy.GetItemParent(item), constants.GetDICOMUIDName(), headers[0].StudyInstanceUID)


def _ascii(text: str) -> str:
    """Text for programs that may not say which character set they write."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")


def _exportSegment(plugin: Any, item: int, tags: dict[str, str], folder: Path) -> None:
    exportables = plugin.examineForExport(item)
    for exportable in exportables:
        exportable.directory = str(folder)
        for tag, value in tags.items():
            exportable.setTag(tag, value)
    _stop(plugin.export(exportables) if exportables else _("Slicer offers no DICOM export for this node."))


def _putIntoSyntheticStudy(node: Any) -> None:
    """Show in the subject hierarchy, too, that patient and study are synthetic.

    A patient and a study of the user's own stay as they are.
    """
    hierarchy, item = hierarchyItem(node)
    constants = slicer.vtkMRMLSubjectHierarchyConstants
    patient = hierarchy.GetItemAncestorAtLevel(item, constants.GetDICOMLevelPatient())
    if not patient or not hierarchy.GetItemName(patient).startswith(MARK):
        patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), f"{MARK} {node.GetName()}")
        study = hierarchy.CreateStudyItem(patient, f"{MARK} SynthCT")
        hierarchy.SetItemParent(item, study)


def _stop(reason: str) -> None:
    if reason:
        raise RuntimeError(reason)
