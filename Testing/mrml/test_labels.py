"""Colors, terminology and the labels of segments, as Slicer's own logics see them."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is missing (extra module-test)")

from SynthCTLib.errors import AmbiguousInputError, InputError
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.reading import read_segmentation
from SynthCTLib.resources import resource_path
from SynthCTLib.segment_identity import ID_TAG as ENGINE_TAG
from SynthCTModule.LabelArray import labelArray
from SynthCTModule.LabelColors import TABLE_NAME, labelColor, terminologyEntry
from SynthCTModule.SegmentationExchange import UnknownSegments, exportLabelmap, importLabelmap
from SynthCTModule.SegmentLabels import ID_TAG, resolveSegments, segmentTag, setSegmentLabel
from SynthCTModule.VoxelGrid import fillImage, matrixFromArray
from Testing.mrml.samples import (
    LEFT_KIDNEY,
    LIVER,
    RIGHT_KIDNEY,
    SPLEEN,
    TURNED,
    addSegment,
    box,
    emptySegmentation,
    segmentOf,
    setTerminology,
)

LABELS = [label for label in load_vocabulary().labels if not label.dummy]

# As in totalsegmentator_snomed_mapping.csv, from which Slicer's TotalSegmentator extension makes its entries, and the
# names that it shows: name, shown name, category and type, modifier, region, region modifier.
ORGAN = "SCT^123037004^Anatomical Structure"
CYST = "SCT^49755003^Morphologically Altered Structure~SCT^367643001^Cyst"
LEFT, RIGHT, NONE = "SCT^7771000^Left", "SCT^24028007^Right", "^^"
TOTALSEGMENTATOR = [
    ("kidney_right", "right kidney", f"{ORGAN}~SCT^64033007^Kidney", RIGHT, NONE, NONE),
    ("kidney_left", "left kidney", f"{ORGAN}~SCT^64033007^Kidney", LEFT, NONE, NONE),
    ("liver", "liver", f"{ORGAN}~SCT^10200004^Liver", NONE, NONE, NONE),
    ("inferior_vena_cava", "inferior vena cava", f"{ORGAN}~SCT^64131007^Inferior vena cava", NONE, NONE, NONE),
    ("autochthon_left", "left deep back muscle", f"{ORGAN}~SCT^244849004^Deep muscle of back", LEFT, NONE, NONE),
    ("kidney_cyst_left", "cyst", CYST, NONE, "SCT^64033007^Kidney", LEFT),
    ("kidney_cyst_right", "cyst", CYST, NONE, "SCT^64033007^Kidney", RIGHT),
]


def loadedTable(scene):
    """The label table as Slicer loads it."""
    node = scene.AddNewNodeByClass("vtkMRMLColorTableNode", "Table")
    storage = slicer.vtkMRMLColorTableStorageNode()
    storage.SetFileName(str(resource_path("labels", "synthct-labels.csv")))
    assert storage.ReadData(node)
    return node


def labelmapNode(scene, array: np.ndarray):
    node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Labels")
    image = slicer.vtkOrientedImageData()
    fillImage(image, array)
    slicer.vtkSlicerSegmentationsModuleLogic.CopyOrientedImageDataToVolumeNode(image, node)
    node.SetIJKToRASMatrix(matrixFromArray(TURNED))
    node.CreateDefaultDisplayNodes()
    return node


def test_the_color_table_in_slicer_agrees_with_the_label_table(scene):
    table = loadedTable(scene)
    rgba = [0.0] * 4
    for label in LABELS:
        table.GetColor(label.id, rgba)
        assert table.GetColorName(label.id) == label.name
        assert np.allclose(rgba[:3], labelColor(label.id), atol=1e-6)


def test_the_terminology_of_a_label_is_the_one_that_slicer_reads_from_the_table(scene):
    table = loadedTable(scene)
    logic = slicer.vtkSlicerTerminologiesModuleLogic()
    for label in LABELS:
        own, slicers = slicer.vtkSlicerTerminologyEntry(), slicer.vtkSlicerTerminologyEntry()
        assert logic.DeserializeTerminologyEntry(terminologyEntry(label.id), own)
        assert logic.DeserializeTerminologyEntry(table.GetTerminologyAsString(label.id), slicers)
        assert logic.AreTerminologyEntriesEqual(own, slicers), label.name
        assert own.GetTerminologyContextName() == TABLE_NAME


def test_slicer_tells_all_labels_apart_by_their_terminology():
    logic = slicer.vtkSlicerTerminologiesModuleLogic()
    segments = []
    for label in LABELS:
        segments.append(slicer.vtkSegment())
        segments[-1].SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), terminologyEntry(label.id))
    for index, segment in enumerate(segments):
        assert not any(logic.AreSegmentTerminologyEntriesEqual(segment, other) for other in segments[index + 1 :])


@pytest.mark.parametrize("label", LABELS, ids=lambda label: label.name)
def test_a_labeled_segment_is_known_by_each_of_tag_terminology_and_name_alone(scene, label):
    node = emptySegmentation(scene)
    byTag, byTerminology, byName = (node.GetSegmentation().AddEmptySegment(text) for text in "abc")
    for segmentId in (byTag, byTerminology, byName):
        setSegmentLabel(node, segmentId, label.id)
    segmentOf(node, byTag).SetName("?")
    segmentOf(node, byTag).RemoveTag(slicer.vtkSegment.GetTerminologyEntryTagName())
    segmentOf(node, byTerminology).SetName("?")
    segmentOf(node, byTerminology).RemoveTag(ID_TAG)
    segmentOf(node, byName).RemoveTag(ID_TAG)
    segmentOf(node, byName).RemoveTag(slicer.vtkSegment.GetTerminologyEntryTagName())
    found = resolveSegments(node)
    assert [segment.labelId for segment in found] == [label.id] * 3
    assert [segment.source for segment in found] == ["tag", "terminology", "name"]


def test_the_tag_is_the_engines():
    assert ID_TAG == ENGINE_TAG


@pytest.mark.parametrize("row", TOTALSEGMENTATOR, ids=lambda row: row[0])
@pytest.mark.parametrize("named", ["shown", "own"])
def test_segments_of_slicers_totalsegmentator_are_known(scene, row, named):
    own, shown, kind, modifier, region, side = row
    node = emptySegmentation(scene)
    segmentId = node.GetSegmentation().AddEmptySegment(own, shown if named == "shown" else own)
    context, regions = "Segmentation category and type - Total Segmentator", "Anatomic codes - DICOM master list"
    setTerminology(node, segmentId, f"{context}~{kind}~{modifier}~{regions}~{region}~{side}|")
    [segment] = resolveSegments(node)
    expected = next(label.id for label in LABELS if label.totalsegmentator_name == own)
    assert (segment.labelId, segment.source, segment.problem) == (expected, "terminology", "")


@pytest.mark.parametrize(
    "label", [label for label in LABELS if label.totalsegmentator_name], ids=lambda label: label.name
)
def test_totalsegmentators_own_names_are_known_without_terminology(scene, label):
    node = emptySegmentation(scene)
    node.GetSegmentation().AddEmptySegment("x", label.totalsegmentator_name)
    assert resolveSegments(node)[0].labelId == label.id


def test_changing_the_label_leaves_nothing_of_the_old_one(scene):
    node = emptySegmentation(scene)
    segmentId = node.GetSegmentation().AddEmptySegment("x")
    setSegmentLabel(node, segmentId, LIVER)
    setSegmentLabel(node, segmentId, LEFT_KIDNEY)
    [segment] = resolveSegments(node)
    assert (segment.name, segment.labelId, segment.problem) == ("Left kidney", LEFT_KIDNEY, "")
    assert segmentTag(segmentOf(node, segmentId), ID_TAG) == str(LEFT_KIDNEY)
    with pytest.raises(KeyError):
        setSegmentLabel(node, "missing", LIVER)


def test_seg_nrrd_keeps_tag_name_and_terminology_for_slicer_and_engine(scene, blocks, tmp_path):
    node = importLabelmap(blocks, TURNED, "All", scene)
    segmentOf(node, "liver").SetName("Größte Drüse")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(tmp_path / "Gäste.seg.nrrd"))
    assert storage.WriteData(node)
    back = emptySegmentation(scene, "Back")
    assert storage.ReadData(back)
    assert segmentOf(back, "liver").GetName() == "Größte Drüse"
    assert [s.labelId for s in resolveSegments(back)] == [s.labelId for s in resolveSegments(node)]
    assert all(segment.source == "tag" for segment in resolveSegments(back))
    assert segmentOf(back, "liver").GetTerminology() == terminologyEntry(LIVER)
    read = read_segmentation(tmp_path / "Gäste.seg.nrrd")
    exported = read_segmentation(exportLabelmap(node, tmp_path / "a.nrrd").path, scheme="maisi")
    assert set(np.unique(read.volume.array)) == set(np.unique(exported.volume.array))
    for volume in (read.volume, exported.volume):
        center = np.argwhere(volume.array == LIVER).mean(axis=0) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        first = np.argwhere(blocks == LIVER).mean(axis=0) @ TURNED[:3, :3].T + TURNED[:3, 3]
        assert np.allclose(center, first, atol=0.01)


def test_a_file_that_names_its_segments_is_never_read_by_its_numbers(scene, tmp_path):
    node = emptySegmentation(scene)
    addSegment(node, "spleen", box((2, 5), (2, 5), (2, 5)))
    addSegment(node, "unbekannt", box((8, 11), (2, 5), (2, 5)))
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(tmp_path / "Zwei.seg.nrrd"))
    assert storage.WriteData(node)
    (tmp_path / "Zwei.seg.nrrd").rename(tmp_path / "Zwei.nrrd")
    back = importLabelmap(tmp_path / "Zwei.nrrd", scene=scene)
    assert [(s.name, s.labelId) for s in resolveSegments(back)] == [("spleen", SPLEEN), ("unbekannt", None)]


def test_a_label_map_with_synthcts_colors_is_in_maisi_ids(scene, blocks, tmp_path):
    node = labelmapNode(scene, blocks)
    node.GetDisplayNode().SetAndObserveColorNodeID(loadedTable(scene).GetID())
    report = exportLabelmap(node, tmp_path / "a.nrrd")
    read = read_segmentation(report.path, scheme=report.scheme)
    assert report.scheme == "maisi" and np.array_equal(read.volume.array, blocks)
    assert np.allclose(read.volume.affine, TURNED)


def test_a_label_map_that_slicer_exported_is_read_by_the_names_of_its_colors(scene, tmp_path):
    segmentation = emptySegmentation(scene)
    for number, name in enumerate(("spleen", "liver", "kidney_right")):
        addSegment(segmentation, name, box((6 * number, 6 * number + 3), (2, 5), (2, 5)))
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Exported")
    assert logic.ExportAllSegmentsToLabelmapNode(segmentation, node)
    report = exportLabelmap(node, tmp_path / "a.nrrd")
    assert report.scheme == "maisi" and report.voxels == {SPLEEN: 27, LIVER: 27, RIGHT_KIDNEY: 27}
    colors = node.GetDisplayNode().GetColorNode()
    colors.SetColorName(2, "Unbekanntes")
    with pytest.raises(UnknownSegments, match="'Unbekanntes'"):
        exportLabelmap(node, tmp_path / "b.nrrd")


def test_numbers_without_names_are_left_for_the_engine_to_find_out(scene, tmp_path):
    colors = slicer.vtkMRMLColorLogic()
    colors.SetMRMLScene(scene)
    node = labelmapNode(scene, box((2, 5), (2, 5), (2, 5)).astype(np.int16) * 5)
    node.GetDisplayNode().SetAndObserveColorNodeID(colors.GetDefaultLabelMapColorNodeID())
    assert node.GetDisplayNode().GetColorNode() is not None
    report = exportLabelmap(node, tmp_path / "a.nrrd")
    assert report.scheme is None and report.voxels == {5: 27}


def test_ids_of_a_label_map_are_what_its_numbers_mean_not_its_numbers(scene):
    node = labelmapNode(scene, box((2, 5), (2, 5), (2, 5)).astype(np.int16) * 5)
    assert set(np.unique(labelArray(node, "totalsegmentator")[0])) == {0, LIVER}
    assert set(np.unique(labelArray(node, "maisi")[0])) == {0, RIGHT_KIDNEY}
    array, affine = labelArray(node, "maisi")
    assert array.dtype == np.uint8 and np.allclose(affine, TURNED)


def test_a_label_map_that_may_mean_two_things_is_refused(scene):
    node = labelmapNode(scene, box((2, 5), (2, 5), (2, 5)).astype(np.int16) * 5)
    with pytest.raises(AmbiguousInputError, match="'Labels' could be MAISI ids or TotalSegmentator"):
        labelArray(node)
    with pytest.raises(InputError, match="'Labels' holds the id 131"):
        labelArray(labelmapNode(scene, box((2, 5), (2, 5), (2, 5)).astype(np.int16) * 131), "totalsegmentator")


def test_the_color_table_of_a_label_map_counts_more_than_the_chosen_scheme(scene, blocks):
    node = labelmapNode(scene, blocks)
    node.GetDisplayNode().SetAndObserveColorNodeID(loadedTable(scene).GetID())
    assert np.array_equal(labelArray(node, "totalsegmentator")[0], blocks)
