"""Small DICOM series, structure sets and segmentations, written as scanners and planning systems write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

SPACING = (3.0, 3.0, 4.0)


def write_series(
    folder: Path,
    hu: np.ndarray,
    patient: str = "MRN-CLINIC-4711",
    modality: str = "CT",
    tilt: float = 0.0,
    skip: tuple[int, ...] = (),
    changes: dict | None = None,
) -> list[Dataset]:
    """A series of axial slices from ``hu`` (axes RAS), in files of shuffled names; ``tilt`` in degrees.

    ``skip``: slices that are missing. ``changes``: further tags.
    """
    folder.mkdir(parents=True, exist_ok=True)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    order = np.random.default_rng(0).permutation(hu.shape[2])
    slices = []
    for k in range(hu.shape[2]):
        if k in skip:
            continue
        data = _file(CTImageStorage)
        data.PatientID, data.PatientName, data.Modality = patient, "Doe^Jane", modality
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, series, frame
        data.ImageType, data.BodyPartExamined = ["ORIGINAL", "PRIMARY", "AXIAL"], "CHEST"
        # Rows run to the left and columns to the back of the patient: both axes of the array turned around.
        angle = np.radians(tilt)
        data.ImageOrientationPatient = [1, 0, 0, 0, float(np.cos(angle)), float(np.sin(angle))]
        data.ImagePositionPatient = [-60.0, -50.0, SPACING[2] * k]
        data.PixelSpacing, data.SliceThickness = [SPACING[1], SPACING[0]], SPACING[2]
        data.InstanceNumber = k + 1
        stored = (hu[::-1, ::-1, k].T + 1024).astype(np.uint16)
        data.Rows, data.Columns = stored.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
        data.RescaleIntercept, data.RescaleSlope = -1024, 1
        data.PixelData = stored.tobytes()
        for name, value in (changes or {}).items():
            if value is None:
                delattr(data, name)
            else:
                setattr(data, name, value)
        data.save_as(folder / f"IM{order[k]:04d}", enforce_file_format=True)
        slices.append(pydicom.dcmread(folder / f"IM{order[k]:04d}"))
    return slices


def write_structures(path: Path, slices: list[Dataset], contours: dict[str, list[list[list[float]]]]) -> None:
    """An RTSTRUCT of closed contours (points in LPS mm) by structure name."""
    data = _file(RTStructureSetStorage)
    data.Modality, data.SeriesInstanceUID, data.StudyInstanceUID = "RTSTRUCT", generate_uid(), generate_uid()
    data.PatientID, data.FrameOfReferenceUID = slices[0].PatientID, slices[0].FrameOfReferenceUID
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = slices[0].SeriesInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = slices[0].FrameOfReferenceUID, [study]
    data.ReferencedFrameOfReferenceSequence = [frame]
    data.StructureSetROISequence, data.ROIContourSequence = [], []
    for number, (name, loops) in enumerate(contours.items(), 1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, drawn.ReferencedROINumber = number, name, number
        drawn.ContourSequence = []
        for points in loops:
            loop = Dataset()
            loop.ContourGeometricType, loop.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
            loop.ContourData = [float(value) for point in points for value in point]
            drawn.ContourSequence.append(loop)
        data.StructureSetROISequence.append(roi)
        data.ROIContourSequence.append(drawn)
    data.save_as(path, enforce_file_format=True)


def write_segmentation(path: Path, slices: list[Dataset], masks: dict[str, np.ndarray]) -> None:
    """A DICOM SEG of masks (axes RAS) by structure name, typed as plain tissue."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    segments = [
        hd.seg.SegmentDescription(
            number, name, codes.SCT.Tissue, codes.SCT.Tissue, hd.seg.SegmentAlgorithmTypeValues.MANUAL
        )
        for number, name in enumerate(masks, 1)
    ]
    arrays = [mask[::-1, ::-1].transpose(2, 1, 0) for mask in masks.values()]
    pixels = np.stack(arrays, axis=-1).astype(np.uint8)
    segmentation = hd.seg.Segmentation(
        source_images=slices,
        pixel_array=pixels,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=generate_uid(),
        series_number=9,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="test",
        manufacturer_model_name="test",
        software_versions="1",
        device_serial_number="1",
    )
    segmentation.save_as(path)


def _file(kind: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    for name in ("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "PatientBirthDate", "PatientSex"):
        setattr(data, name, "")
    data.ReferringPhysicianName, data.Manufacturer, data.SeriesNumber = "", "test", 1
    return data
