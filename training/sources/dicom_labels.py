"""Labels of a CT series from RTSTRUCT (contours) and SEG (segments), on the grid of the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from SynthCTLib.errors import InputError
from SynthCTLib.findings import Finding
from SynthCTLib.geometry import resample_labels
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.segment_identity import identify_segment
from SynthCTLib.volume import Volume
from training.sources.labels import compose, label_ids, labels_unusable, unknown_names

_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_OFF_PLANE = 0.5
"""Voxels: a contour must lie nearer than this to one slice."""
_READING_ERRORS = (OSError, EOFError, ValueError, TypeError, AttributeError, KeyError, IndexError, RuntimeError)


def read_dicom_labels(
    files: list[Path], image: Volume, label_map: Mapping[str, Any] | None
) -> tuple[Volume | None, list[Finding]]:
    """(uint8 ids on the grid of ``image`` or None, findings); a file that cannot be read is a finding."""
    import pydicom

    masks: list[tuple[int, np.ndarray]] = []
    notes: list[Finding] = []
    for path in files:
        try:
            data = pydicom.dcmread(path)
            read = _contours if data.Modality == "RTSTRUCT" else _segments
            found, more = read(data, image, label_map)
        except InputError as error:
            notes.append(labels_unusable(str(error)))
            continue
        except _READING_ERRORS:
            notes.append(labels_unusable(f"{path.name} is damaged or of a kind that cannot be read."))
            continue
        masks += found
        notes += more
    volume, overlaps = compose(masks, image.affine)
    return volume, notes + overlaps


def _contours(
    data: Any, image: Volume, label_map: Mapping[str, Any] | None
) -> tuple[list[tuple[int, np.ndarray]], list[Finding]]:
    names = {int(roi.ROINumber): str(roi.ROIName) for roi in data.StructureSetROISequence}
    ids, notes = label_ids(names.values(), label_map)
    to_index = np.linalg.inv(image.affine) @ _TO_RAS
    masks = []
    for roi in data.get("ROIContourSequence", []):
        label = ids[names[int(roi.ReferencedROINumber)]]
        if not label:
            continue
        mask = np.zeros(image.shape, bool)
        for contour in roi.get("ContourSequence", []):
            if contour.ContourGeometricType == "CLOSED_PLANAR":
                points = np.array(contour.ContourData, float).reshape(-1, 3)
                _fill(mask, points @ to_index[:3, :3].T + to_index[:3, 3])
        masks.append((label, mask))
    return masks, notes


def _fill(mask: np.ndarray, points: np.ndarray) -> None:
    """Toggle the voxels inside one closed contour (N, 3 voxel indices): a contour inside another cuts a hole."""
    from skimage.draw import polygon2mask

    plane = float(points[:, 2].mean())
    k = round(plane)
    if np.abs(points[:, 2] - plane).max() > _OFF_PLANE:
        raise InputError("Its contours are not drawn in the slices of the CT; resample the structures first.")
    if 0 <= k < mask.shape[2]:
        mask[:, :, k] ^= polygon2mask(mask.shape[:2], points[:, :2])


def _segments(
    data: Any, image: Volume, label_map: Mapping[str, Any] | None
) -> tuple[list[tuple[int, np.ndarray]], list[Finding]]:
    try:
        from highdicom.seg import Segmentation
    except ImportError:
        raise InputError("reading DICOM SEG needs highdicom; install it with 'pip install highdicom'.") from None
    segmentation = Segmentation.from_dataset(data)
    volume = segmentation.get_volume(combine_segments=False, rescale_fractional=False)
    affine = _TO_RAS @ volume.affine  # highdicom's indices are (slice, row, column), in LPS
    masks, unknown = [], []
    for number, item in enumerate(segmentation.SegmentSequence):
        label = _segment_id(item, label_map)
        if not label:
            unknown += [str(item.SegmentLabel)] if label is None else []
            continue
        stored = Volume((volume.array[..., number] > 0).astype(np.uint8), affine)
        masks.append((label, resample_labels(stored, image.shape, image.affine).array > 0))
    return masks, [unknown_names(unknown)] if unknown else []


def _segment_id(item: Any, label_map: Mapping[str, Any] | None) -> int | None:
    """Id of a segment: the user's map, then its codes, then its name; None where nothing is known."""
    name = str(item.SegmentLabel)
    if label_map and name in label_map:
        return label_ids([name], label_map)[0][name]
    codes = [_code(item, "SegmentedPropertyCategoryCodeSequence"), *_type_codes(item)]
    identity = identify_segment(name, "", "~".join(["", *codes]), load_vocabulary())
    return identity.label.id if identity.label else None


def _type_codes(item: Any) -> Iterator[str]:
    """Type, modifier, an empty context and the region, as in Slicer's terminology entries."""
    types = item.get("SegmentedPropertyTypeCodeSequence", [])
    yield _code(item, "SegmentedPropertyTypeCodeSequence")
    yield _code(types[0], "SegmentedPropertyTypeModifierCodeSequence") if types else ""
    yield ""
    yield _code(item, "AnatomicRegionSequence")


def _code(item: Any, name: str) -> str:
    codes = item.get(name, [])
    return f"{codes[0].CodingSchemeDesignator}^{codes[0].CodeValue}^{codes[0].CodeMeaning}" if codes else ""
