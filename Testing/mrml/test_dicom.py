"""What leaves Slicer says that it is synthetic, or is not offered, with the reason."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is missing (extra module-test)")
pydicom = pytest.importorskip("pydicom", reason="pydicom is missing (extra module-test)")

from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from SynthCTLib.reading import read_segmentation
from SynthCTModule.DicomExport import (
    ctExportReason,
    exportCt,
    exportSeg,
    saveMask,
    segExportReason,
    syntheticTags,
)
from SynthCTModule.GridBox import templateVolume
from SynthCTModule.ResultNodes import hierarchyItem
from SynthCTModule.SegmentationExchange import importLabelmap
from SynthCTModule.VoxelGrid import Grid
from Testing.mrml.samples import LIVER, TURNED, box

# Parameters of Create DICOM Series that are given here (its XML in Slicer 5.12 and 5.13).
READ_BY_SLICER = {
    "inputVolume", "dicomDirectory", "patientName", "patientID", "patientComments", "studyDescription", "modality",
    "manufacturer", "model", "seriesDescription", "studyInstanceUID", "seriesInstanceUID", "frameOfReferenceUID",
    "windowCenter", "windowWidth",
}  # fmt: skip


STUDY, SERIES = generate_uid(), generate_uid()


class Exportable:
    """As qSlicerDICOMExportable: tags by name, and a directory."""

    def __init__(self, item: int) -> None:
        self.subjectHierarchyItemID = item
        self.directory = ""
        self.tags: dict[str, str] = {}

    def setTag(self, name: str, value: str) -> None:
        self.tags[name] = value

    def tag(self, name: str) -> str:
        return self.tags.get(name, "")


class CliNode:
    """As vtkMRMLCommandLineModuleNode: busy for a while, then the files are there."""

    Completed = 0x20

    def __init__(self, parameters: dict[str, str], looks: int = 2, error: str = "") -> None:
        self.parameters, self._looks, self._error = parameters, looks, error
        self.cancelled, self.observers, self.removed = False, {}, False

    def IsBusy(self) -> bool:
        self._looks -= 1
        if self._looks == 0 and not self._error:
            for number in (1, 2):
                write(Path(self.parameters["dicomDirectory"]) / f"IMG{number:04d}.dcm", tagsOf(self.parameters))
        return self._looks >= 0

    def Cancel(self) -> None:
        self.cancelled = self._looks > 0

    def AddObserver(self, event: str, callback) -> int:
        self.observers[len(self.observers) + 1] = (event, callback)
        return len(self.observers)

    def RemoveObserver(self, tag: int) -> None:
        del self.observers[tag]

    def endAfterCancel(self) -> None:
        """Slicer's module listens between two files."""
        self._looks = -1
        folder = Path(self.parameters["dicomDirectory"])
        folder.mkdir(exist_ok=True)
        write(folder / "IMG0001.dcm", tagsOf(self.parameters))
        for event, callback in list(self.observers.values()):
            callback(self, event)

    def GetStatus(self) -> int:
        return self.Completed | (0x40 if self._error else 0)

    def GetErrorText(self) -> str:
        return self._error

    def GetScene(self) -> CliNode:
        return self

    def RemoveNode(self, node: CliNode) -> None:
        node.removed = True


def runCli(_module, _node, parameters: dict[str, str]) -> CliNode:
    assert set(parameters) <= READ_BY_SLICER
    return CliNode(parameters)


def tagsOf(parameters: dict[str, str]) -> Exportable:
    exportable = Exportable(0)
    for name, key in (("PatientName", "patientName"), ("PatientID", "patientID"), ("Modality", "modality")):
        exportable.setTag(name, parameters[key])
    exportable.setTag("SeriesDescription", parameters["seriesDescription"])
    return exportable


def done(steps):
    """What a generator returns when it has been run to its end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


class Database:
    """As ctkDICOMDatabase: keeps a copy of what is inserted."""

    isOpen = True

    def __init__(self) -> None:
        self.files: dict[str, str] = {}

    def insert(self, path: str) -> None:
        self.files[pydicom.dcmread(path).SOPInstanceUID] = path

    def fileForInstance(self, uid: str) -> str:
        return self.files.get(uid, "")


class SegPlugin:
    """As QuantitativeReporting's plugin: patient and study come from the series in the database, else it refuses."""

    def __init__(self, scene, database: Database) -> None:
        self.scene, self.database = scene, database

    def examineForExport(self, item: int) -> list[Exportable]:
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        uids = hierarchy.GetItemAttribute(item, "DICOM.ReferencedInstanceUIDs").split()
        return [Exportable(item)] if all(map(self.database.fileForInstance, uids)) else []

    def export(self, exportables: list[Exportable]) -> str:
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        for exportable in exportables:
            node = hierarchy.GetItemDataNode(exportable.subjectHierarchyItemID)
            volume = node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
            if volume is None:
                return "Referenced volume is not found for the segmentation."
            uids = (volume.GetAttribute("DICOM.instanceUIDs") or "").split()
            if not uids:
                return "VolumeNode has no attribute DICOM.instanceUIDs"
            first = pydicom.dcmread(self.database.fileForInstance(uids[0]))
            copied = Exportable(0)
            copied.tags = {name: str(first.get(name, "")) for name in ("PatientName", "PatientID")}
            copied.tags |= {name: exportable.tag(name) for name in ("SeriesDescription", "Modality")}
            write(Path(exportable.directory) / "segmentation.dcm", copied)
        return ""


def segModules(scene, database: Database) -> SimpleNamespace:
    plugins = {"DICOMSegmentationPlugin": lambda: SegPlugin(scene, database)}
    more = {"quantitativereporting": object(), "itkimage2segimage": object()}
    return SimpleNamespace(dicomPlugins=plugins, createdicomseries=object(), **more)


def maskOf(scene) -> tuple:
    ct = templateVolume(Grid((16, 16, 16), TURNED), "Chest CT", scene)
    mask = importLabelmap(box((2, 5), (2, 5), (2, 5)).astype(np.uint8) * LIVER, TURNED, "Mask Größe", scene)
    return mask, ct


def write(path: Path, exportable: Exportable) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, SERIES
    dataset.PatientName, dataset.PatientID = exportable.tag("PatientName"), exportable.tag("PatientID")
    dataset.SeriesDescription, dataset.Modality = exportable.tag("SeriesDescription"), exportable.tag("Modality")
    dataset.save_as(path, enforce_file_format=True)


MODULES = SimpleNamespace(createdicomseries=object())


def test_all_tags_say_that_the_image_is_synthetic():
    tags = syntheticTags("Thorax mit Läsion " * 9, 4294967295)
    for tag in ("patientName", "patientID", "patientComments", "studyDescription", "seriesDescription"):
        assert tags[tag].startswith("SYNTHETIC")
    assert len(tags["seriesDescription"]) <= 64 and tags["modality"] == "CT"


def test_without_a_writer_the_reason_is_given():
    assert "Create DICOM Series" in ctExportReason(SimpleNamespace())
    assert "QuantitativeReporting" in segExportReason(SimpleNamespace(dicomPlugins={}))
    assert ctExportReason(MODULES) == ""


def test_an_export_that_is_impossible_stops_with_the_reason(scene, tmp_path):
    volume = templateVolume(Grid((4, 4, 4), np.eye(4)), "CT", scene)
    with pytest.raises(RuntimeError, match="Create DICOM Series"):
        done(exportCt(volume, tmp_path, modules=SimpleNamespace()))
    with pytest.raises(RuntimeError, match="QuantitativeReporting"):
        done(exportSeg(volume, volume, tmp_path, modules=SimpleNamespace()))


def test_every_written_file_is_marked_in_patient_series_and_image_comments(scene, tmp_path):
    volume = templateVolume(Grid((4, 4, 4), np.eye(4)), "Chest CT", scene)
    written = done(exportCt(volume, tmp_path / "DICOM Ausgabe", 7, MODULES, runCli))
    assert len(written) == 2
    for path in written:
        dataset = pydicom.dcmread(path)
        for text in (str(dataset.PatientName), dataset.SeriesDescription, dataset.ImageComments):
            assert "SYNTHETIC" in text
        assert "seed 7" in dataset.SeriesDescription and "Chest CT" in dataset.SeriesDescription
        assert list(dataset.ImageType)[:2] == ["DERIVED", "SECONDARY"]


def test_the_window_lives_while_slicer_writes_and_while_files_are_marked(scene, tmp_path):
    steps = exportCt(templateVolume(Grid((4, 4, 4), np.eye(4)), "CT", scene), tmp_path, None, MODULES, runCli)
    assert len(list(steps)) == 4, "twice while Slicer's module is busy, then once for each file"


def test_each_series_gets_a_folder_of_its_own_and_other_files_stay_as_they_are(scene, tmp_path):
    (tmp_path / "SYNTHETIC CT").mkdir()
    (tmp_path / "SYNTHETIC CT" / "real.dcm").write_bytes(b"of a patient")
    volume = templateVolume(Grid((4, 4, 4), np.eye(4)), "CT", scene)
    folders = {done(exportCt(volume, tmp_path, None, MODULES, runCli))[0].parent.name for _ in range(2)}
    assert folders == {"SYNTHETIC CT 2", "SYNTHETIC CT 3"}
    assert [path.read_bytes() for path in (tmp_path / "SYNTHETIC CT").iterdir()] == [b"of a patient"]


def test_a_series_can_be_read_by_whoever_can_read_the_users_other_folders(scene, tmp_path):
    (tmp_path / "other").mkdir()
    volume = templateVolume(Grid((4, 4, 4), np.eye(4)), "CT", scene)
    series = done(exportCt(volume, tmp_path, None, MODULES, runCli))[0].parent
    assert series.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_an_export_that_is_given_up_is_cancelled_and_leaves_nothing_however_late_it_listens(scene, tmp_path):
    nodes = []

    def slow(_module, _node, parameters):
        nodes.append(CliNode(parameters, looks=100))
        return nodes[0]

    steps = exportCt(templateVolume(Grid((4, 4, 4), np.eye(4)), "CT", scene), tmp_path, None, MODULES, slow)
    next(steps)
    steps.close()
    assert nodes[0].cancelled and not nodes[0].removed
    nodes[0].endAfterCancel()
    assert nodes[0].removed and not nodes[0].observers and list(tmp_path.iterdir()) == []


def test_the_node_of_slicers_module_goes_when_its_series_is_there(scene, tmp_path):
    nodes = []

    def noted(*arguments):
        nodes.append(runCli(*arguments))
        return nodes[0]

    done(exportCt(templateVolume(Grid((4, 4, 4), np.eye(4)), "CT", scene), tmp_path, None, MODULES, noted))
    assert nodes[0].removed and not nodes[0].cancelled and not nodes[0].observers


def test_what_an_export_left_that_ended_with_slicer_is_removed_but_no_export_at_work(scene, tmp_path):
    for name, age in (("old", 7200), ("young", 60)):
        (tmp_path / f".SynthCT-{name}").mkdir()
        os.utime(tmp_path / f".SynthCT-{name}", (time.time() - age,) * 2)
    done(exportCt(templateVolume(Grid((4, 4, 4), np.eye(4)), "CT", scene), tmp_path, None, MODULES, runCli))
    assert [path.name for path in tmp_path.glob(".SynthCT-*")] == [".SynthCT-young"]


def test_a_synthetic_ct_never_enters_the_study_of_a_real_patient(scene, tmp_path):
    volume = templateVolume(Grid((4, 4, 4), np.eye(4)), "CT", scene)
    hierarchy, item = hierarchyItem(volume)
    real = hierarchy.CreateStudyItem(hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Meier, Anna"), "CT")
    hierarchy.SetItemParent(item, real)
    done(exportCt(volume, tmp_path / "a", None, MODULES, runCli))
    patient = hierarchy.GetItemParent(hierarchy.GetItemParent(item))
    assert hierarchy.GetItemName(patient).startswith("SYNTHETIC")
    done(exportCt(volume, tmp_path / "b", None, MODULES, runCli))
    assert hierarchy.GetItemParent(hierarchy.GetItemParent(item)) == patient


def test_slicers_refusal_reaches_the_user_and_no_file_stays(scene, tmp_path):
    def refusing(_module, _node, parameters):
        return CliNode(parameters, error="No space left on device")

    volume = templateVolume(Grid((4, 4, 4), np.eye(4)), "CT", scene)
    with pytest.raises(RuntimeError, match="No space left"):
        done(exportCt(volume, tmp_path, None, MODULES, refusing))
    assert list(tmp_path.iterdir()) == []


def test_a_segmentation_refers_to_its_ct_which_goes_into_the_database_once(scene, tmp_path):
    database = Database()
    (mask, ct), modules = maskOf(scene), segModules(scene, database)
    done(exportSeg(mask, ct, tmp_path / "seg", 7, modules, database, runCli))
    written = pydicom.dcmread(tmp_path / "seg" / "segmentation.dcm")
    assert str(written.PatientName) == "SYNTHETIC^SynthCT" and written.Modality == "SEG"
    assert written.SeriesDescription == "SYNTHETIC Mask Groe, seed 7"
    uids = ct.GetAttribute("DICOM.instanceUIDs").split()
    assert uids == [pydicom.dcmread(path).SOPInstanceUID for path in sorted((tmp_path / "seg").rglob("IMG*.dcm"))]
    hierarchy, item = hierarchyItem(mask)
    _hierarchy, ctItem = hierarchyItem(ct)
    assert hierarchy.GetItemParent(item) == hierarchy.GetItemParent(ctItem)
    assert hierarchy.GetItemUID(ctItem, "DICOMInstanceUID").split() == uids
    done(exportSeg(mask, ct, tmp_path / "again", 7, modules, database, runCli))
    assert len(database.files) == 2 and [path.name for path in (tmp_path / "again").iterdir()] == ["segmentation.dcm"]


def test_a_segmentation_is_not_exported_when_the_database_keeps_nothing(scene, tmp_path):
    database = Database()
    database.insert = lambda _path: None
    mask, ct = maskOf(scene)
    with pytest.raises(RuntimeError, match="copied into the DICOM database"):
        done(exportSeg(mask, ct, tmp_path / "seg", 7, segModules(scene, database), database, runCli))
    assert ct.GetAttribute("DICOM.instanceUIDs") is None


def test_dicom_seg_needs_its_extensions_and_an_open_database(scene):
    database = Database()
    modules = segModules(scene, database)
    assert segExportReason(modules, database) == ""
    database.isOpen = False
    assert "open the module DICOM" in segExportReason(modules, database)
    del modules.itkimage2segimage
    assert "DCMQI" in segExportReason(modules, database)


def test_letters_beyond_ascii_are_written_with_their_character_set(scene, tmp_path):
    volume = templateVolume(Grid((4, 4, 4), np.eye(4)), "Größe 胸部", scene)
    given = []

    def watched(module, node, parameters):
        given.append(parameters["seriesDescription"])
        return runCli(module, node, parameters)

    dataset = pydicom.dcmread(done(exportCt(volume, tmp_path, 7, MODULES, watched))[0])
    assert given[0].isascii()
    assert dataset.SpecificCharacterSet == "ISO_IR 192" and "Größe 胸部" in dataset.SeriesDescription


def test_a_saved_mask_is_read_by_the_engine_and_appears_complete_or_not_at_all(scene, tmp_path):
    mask = importLabelmap(box((2, 5), (2, 5), (2, 5)).astype(np.uint8) * LIVER, TURNED, "Mask", scene)
    path = tmp_path / "Größe.seg.nrrd"
    saveMask(mask, path)
    assert list(tmp_path.iterdir()) == [path]
    assert set(np.unique(read_segmentation(path).volume.array)) == {0, LIVER}
    with pytest.raises(ValueError, match=r"as \.seg\.nrrd"):
        saveMask(mask, tmp_path / "mask.nii.gz")
    with pytest.raises(RuntimeError, match="cannot be written"):
        saveMask(mask, tmp_path / "missing" / "mask.seg.nrrd")
