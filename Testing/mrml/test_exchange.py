"""Every label comes out of Slicer and back with the same id at the same place."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is missing (extra module-test)")

from SynthCTLib.labels import load_vocabulary
from SynthCTLib.reading import read_segmentation
from SynthCTModule.DicomExport import saveMask
from SynthCTModule.FileCheck import isComplete
from SynthCTModule.GridBox import templateVolume
from SynthCTModule.SegmentationExchange import (
    UnknownSegments,
    addLabelSegment,
    exportLabelmap,
    importLabelmap,
    readLabelmap,
)
from SynthCTModule.SegmentLabels import resolveSegments
from SynthCTModule.VoxelGrid import Grid, fillImage, matrixFromArray
from Testing.mrml.samples import (
    AORTA,
    BODY,
    COLON,
    GRIDS,
    HEPATIC_TUMOR,
    LIVER,
    RIGHT_KIDNEY,
    SPLEEN,
    TURNED,
    addSegment,
    box,
    emptySegmentation,
    positions,
    segmentOf,
    setTerminology,
    transformed,
    turned,
)


def codes(report) -> list[str]:
    return [finding.code for finding in report.findings]


@pytest.mark.parametrize("grid", GRIDS)
def test_all_labels_come_back_from_slicer_with_id_and_world_position(scene, blocks, tmp_path, grid):
    node = importLabelmap(blocks, GRIDS[grid], "All", scene)
    report = exportLabelmap(node, tmp_path / "Übung 1.nrrd")
    read = read_segmentation(report.path, scheme=report.scheme)
    expected = {label.id for label in load_vocabulary().labels if not label.dummy}
    assert set(np.unique(read.volume.array)) - {0} == expected == set(report.voxels)
    for label in expected:
        before, after = positions(blocks, GRIDS[grid], label), positions(read.volume.array, read.volume.affine, label)
        assert before.shape == after.shape and np.abs(before - after).max() < 0.01


@pytest.mark.parametrize("grid", GRIDS)
def test_the_engines_file_becomes_segments_at_the_same_place(scene, blocks, tmp_path, grid):
    import nibabel as nib

    nib.save(nib.Nifti1Image(blocks, GRIDS[grid]), tmp_path / "mask.nii.gz")
    node = importLabelmap(tmp_path / "mask.nii.gz", scene=scene)
    back, affine = readLabelmap(exportLabelmap(node, tmp_path / "back.nrrd").path)
    assert node.GetName() == "mask"
    for label in (LIVER, BODY, HEPATIC_TUMOR):
        assert np.abs(positions(blocks, GRIDS[grid], label) - positions(back, affine, label)).max() < 0.01


def test_renamed_recolored_and_reordered_segments_keep_their_ids(scene, blocks, tmp_path):
    node = importLabelmap(blocks, TURNED, "All", scene)
    segmentation = node.GetSegmentation()
    for number, segmentId in enumerate(segmentation.GetSegmentIDs()):
        segmentation.GetSegment(segmentId).SetName(f"Struktur № {number} — 器官")
        segmentation.GetSegment(segmentId).SetColor(0.5, 0.5, 0.5)
    segmentation.SetSegmentIndex(segmentation.GetNthSegmentID(0), 100)
    array, _ = readLabelmap(exportLabelmap(node, tmp_path / "a.nrrd").path)
    assert np.array_equal(array, blocks)


def test_segments_without_tag_are_known_by_terminology_or_name(scene, tmp_path):
    node = emptySegmentation(scene)
    addSegment(node, "kidney_right", box((2, 5), (2, 5), (2, 5)))
    named = addSegment(node, "Segment_7", box((8, 11), (2, 5), (2, 5)))
    setTerminology(node, named, "X~SCT^123037004^Anatomical Structure~SCT^78961009^Spleen~^^~X~^^~^^")
    report = exportLabelmap(node, tmp_path / "a.nrrd")
    assert report.voxels == {RIGHT_KIDNEY: 27, SPLEEN: 27}
    assert [segment.source for segment in report.segments] == ["name", "terminology"]


def test_an_unknown_segment_stops_the_export_with_its_name_and_nothing_is_written(scene, tmp_path):
    node = emptySegmentation(scene)
    addSegment(node, "liver", box((2, 5), (2, 5), (2, 5)))
    addSegment(node, "Gewächs", box((8, 11), (2, 5), (2, 5)))
    with pytest.raises(UnknownSegments, match="'Gewächs' is not a label") as caught:
        exportLabelmap(node, tmp_path / "a.nrrd")
    assert [segment.name for segment in caught.value.segments] == ["Gewächs"]
    assert list(tmp_path.iterdir()) == []


def test_a_changed_terminology_that_contradicts_tag_and_name_stops_the_export(scene, tmp_path):
    node = importLabelmap(box((2, 5), (2, 5), (2, 5)).astype(np.uint8) * LIVER, TURNED, "One", scene)
    setTerminology(node, "liver", "X~SCT^123037004^Anatomical Structure~SCT^78961009^Spleen~^^~X~^^~^^")
    with pytest.raises(UnknownSegments, match="'Liver' was Liver and now has the terminology of Spleen"):
        exportLabelmap(node, tmp_path / "a.nrrd")


def test_unknown_segments_without_voxels_are_no_obstacle(scene, tmp_path):
    node = emptySegmentation(scene)
    addSegment(node, "liver", box((2, 5), (2, 5), (2, 5)))
    node.GetSegmentation().AddEmptySegment("x", "whatever")
    addLabelSegment(node, SPLEEN)
    assert exportLabelmap(node, tmp_path / "a.nrrd").voxels == {LIVER: 27}


@pytest.mark.parametrize("empty", ["no segment", "empty segment", "unknown empty segment"])
def test_an_empty_segmentation_is_refused_in_words(scene, tmp_path, empty):
    node = emptySegmentation(scene, "Leer")
    if empty != "no segment":
        node.GetSegmentation().AddEmptySegment("x", "liver" if empty == "empty segment" else "whatever")
    with pytest.raises(ValueError, match="'Leer' has no voxels"):
        exportLabelmap(node, tmp_path / "a.nrrd")


def test_two_segments_of_one_label_are_joined_and_said(scene, tmp_path):
    node = emptySegmentation(scene)
    addSegment(node, "liver", box((2, 5), (2, 5), (2, 5)))
    addSegment(node, "Hepar", box((8, 11), (2, 5), (2, 5)))
    report = exportLabelmap(node, tmp_path / "a.nrrd")
    assert report.voxels == {LIVER: 54}
    assert [finding.message for finding in report.findings] == ["The segments 'liver', 'Hepar' are joined as Liver."]


def test_overlaps_go_to_the_lesion_then_the_smaller_organ_then_the_body_and_are_counted(scene, tmp_path):
    node = emptySegmentation(scene)
    addSegment(node, "hepatic tumor", box((4, 8), (4, 8), (4, 8)))
    addSegment(node, "liver", box((2, 12), (2, 12), (2, 12)))
    addSegment(node, "aorta", box((10, 14), (6, 8), (6, 8)))
    addSegment(node, "body", box((0, 18), (0, 16), (0, 15)))
    report = exportLabelmap(node, tmp_path / "a.nrrd")
    assert report.voxels == {HEPATIC_TUMOR: 64, AORTA: 16, LIVER: 1000 - 64 - 8, BODY: 18 * 16 * 15 - 1000 - 8}
    overlap = next(finding for finding in report.findings if finding.code == "overlap")
    assert "72 voxels" in overlap.message and "(64)" in overlap.message and "(8)" in overlap.message


def test_a_segment_that_vanishes_under_others_is_named(scene, tmp_path):
    node = emptySegmentation(scene)
    addSegment(node, "hepatic tumor", box((2, 8), (2, 8), (2, 8)))
    addSegment(node, "aorta", box((4, 6), (4, 6), (4, 6)))
    report = exportLabelmap(node, tmp_path / "a.nrrd")
    assert report.voxels == {HEPATIC_TUMOR: 216}
    assert any("'aorta' (8 voxels) is not in the result" in finding.message for finding in report.findings)


def test_a_parent_transform_moves_the_exported_voxels_and_leaves_the_node_alone(scene, tmp_path):
    node = emptySegmentation(scene)
    mask = box((2, 5), (3, 9), (2, 6))
    addSegment(node, "liver", mask)
    move = turned((1.0, 1.0, 1.0), (33.0, 12.0))
    transformed(scene, node, move)
    array, affine = readLabelmap(exportLabelmap(node, tmp_path / "a.nrrd").path)
    assert np.abs(positions(array, affine, LIVER) - positions(mask, move @ TURNED, 1)).max() < 0.01
    assert node.GetParentTransformNode() is not None


def test_a_warping_transform_is_applied(scene, tmp_path):
    import vtk

    node = emptySegmentation(scene)
    addSegment(node, "liver", box((4, 14), (4, 14), (4, 12)))
    plain, plainAffine = readLabelmap(exportLabelmap(node, tmp_path / "plain.nrrd").path)
    spline = vtk.vtkThinPlateSplineTransform()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    center = positions(plain, plainAffine, LIVER).mean(axis=0)
    for offset in [(0, 0, 0), (60, 0, 0), (-60, 0, 0), (0, 60, 0), (0, -60, 0), (0, 0, 60), (0, 0, -60)]:
        source.InsertNextPoint(*(center + offset))
        target.InsertNextPoint(*(center + offset + (9.0, 0.0, 0.0) + 0.05 * np.array(offset)))
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    spline.SetBasisToR()
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode", "Warp")
    transform.SetAndObserveTransformToParent(spline)
    node.SetAndObserveTransformNodeID(transform.GetID())
    warped, affine = readLabelmap(exportLabelmap(node, tmp_path / "warped.nrrd").path)
    shift = positions(warped, affine, LIVER).mean(axis=0) - center
    assert np.abs(shift - (9.0, 0.0, 0.0)).max() < 1.0
    volume = (warped == LIVER).sum() * abs(np.linalg.det(affine[:3, :3]))
    expected = (plain == LIVER).sum() * abs(np.linalg.det(plainAffine[:3, :3])) * 1.05**3
    assert volume == pytest.approx(expected, rel=0.1)


def test_layers_with_different_grids_meet_on_the_finest(scene, tmp_path):
    node = emptySegmentation(scene)
    coarse = np.diag([4.0, 4.0, 4.0, 1.0])
    fine = np.diag([1.0, 1.0, 1.0, 1.0])
    fine[:3, 3] = (-1.5, -1.5, -1.5)
    addSegment(node, "liver", box((2, 4), (2, 4), (2, 4)), coarse)
    addSegment(node, "aorta", box((0, 3), (0, 3), (0, 3)), fine)
    report = exportLabelmap(node, tmp_path / "a.nrrd")
    assert report.voxels == {LIVER: 8 * 64, AORTA: 27}
    array, affine = readLabelmap(report.path)
    assert np.allclose(positions(array, affine, LIVER).mean(axis=0), (10, 10, 10), atol=0.01)


def test_a_reference_volume_sets_the_grid_and_what_it_cuts_off_is_counted(scene, tmp_path):
    node = emptySegmentation(scene)
    addSegment(node, "liver", box((2, 12), (2, 12), (2, 12)))
    addSegment(node, "spleen", box((16, 18), (2, 4), (2, 4)))
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    image = slicer.vtkOrientedImageData()
    fillImage(image, np.zeros((10, 18, 16), np.int16))
    slicer.vtkSlicerSegmentationsModuleLogic.CopyOrientedImageDataToVolumeNode(image, volume)
    volume.SetIJKToRASMatrix(matrixFromArray(TURNED))
    report = exportLabelmap(node, tmp_path / "a.nrrd", volume)
    assert report.grid.shape == (10, 18, 16) and np.allclose(report.grid.affine, TURNED)
    assert report.voxels == {LIVER: 800}
    texts = [finding.message for finding in report.findings]
    assert "200 of 1000 voxels of Liver lie outside of the grid and are cut off." in texts
    assert any("'spleen' (8 voxels) is not in the result" in text for text in texts)


def test_a_reference_volume_under_a_transform_counts_where_it_lies_in_the_world(scene, tmp_path):
    node = emptySegmentation(scene)
    mask = box((4, 10), (4, 10), (4, 10))
    addSegment(node, "liver", mask)
    transformed(scene, node, turned((1.0, 1.0, 1.0), (33.0, 12.0)))
    volume = templateVolume(Grid((40, 40, 40), np.diag([2.0, 2.0, 2.0, 1.0])), "CT", scene)
    center = positions(mask, turned((1.0, 1.0, 1.0), (33.0, 12.0)) @ TURNED, 1).mean(axis=0)
    around = np.eye(4)
    around[:3, 3] = center - 40.0
    transformed(scene, volume, around)
    array, affine = readLabelmap(exportLabelmap(node, tmp_path / "a.nrrd", volume).path)
    assert array.shape == (40, 40, 40) and np.allclose(affine, around @ np.diag([2.0, 2.0, 2.0, 1.0]))
    assert np.abs(positions(array, affine, LIVER).mean(axis=0) - center).max() < 0.5
    voxel = abs(np.linalg.det(TURNED[:3, :3]))
    assert (array == LIVER).sum() * 8.0 == pytest.approx(mask.sum() * voxel, rel=0.05)


def test_the_grid_that_a_segmentation_was_drawn_on_is_kept(scene, tmp_path):
    array = np.zeros((20, 18, 16), np.uint8)
    array[9, 9, 9] = LIVER
    node = importLabelmap(array, TURNED, "Small", scene)
    report = exportLabelmap(node, tmp_path / "a.nrrd")
    assert report.grid.shape == (20, 18, 16) and np.allclose(report.grid.affine, TURNED)


def test_segments_that_are_surfaces_only_become_voxels(scene, tmp_path):
    import vtk

    node = emptySegmentation(scene)
    node.SetSourceRepresentationToClosedSurface()
    for name, center in (("liver", (10.0, 20.0, 30.0)), ("spleen", (60.0, 20.0, 30.0))):
        sphere = vtk.vtkSphereSource()
        sphere.SetCenter(*center)
        sphere.SetRadius(15.0)
        sphere.SetThetaResolution(40)
        sphere.SetPhiResolution(40)
        sphere.Update()
        node.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), name, [1, 0, 0], name)
    array, affine = readLabelmap(exportLabelmap(node, tmp_path / "a.nrrd").path)
    for label, center in ((LIVER, (10.0, 20.0, 30.0)), (SPLEEN, (60.0, 20.0, 30.0))):
        points = positions(array, affine, label)
        assert np.abs(points.mean(axis=0) - center).max() < 0.5
        volume = len(points) * abs(np.linalg.det(affine[:3, :3]))
        assert volume == pytest.approx(4 / 3 * np.pi * 15.0**3, rel=0.05)
    assert not node.GetSegmentation().ContainsRepresentation("Binary labelmap")


def test_an_added_label_has_its_name_color_terminology_and_tag(scene):
    node = emptySegmentation(scene)
    first, second = addLabelSegment(node, RIGHT_KIDNEY), addLabelSegment(node, RIGHT_KIDNEY)
    segment = segmentOf(node, first)
    assert segment.GetName() == "Right kidney" and first != second
    assert [round(255 * value) for value in segment.GetColor()] == list(load_vocabulary().by_id(RIGHT_KIDNEY).color)
    assert "SCT^64033007^Kidney~SCT^24028007^Right" in segment.GetTerminology()
    assert [entry.source for entry in resolveSegments(node)] == ["tag", "tag"]


def test_ids_that_are_no_labels_are_refused_on_import(scene):
    with pytest.raises(ValueError, match="no labels of SynthCT: 2, 150"):
        importLabelmap(np.array([[[1, 2, 150]]], np.uint8), np.eye(4), "Bad", scene)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


@pytest.mark.parametrize("name", ["mask.nii", "mask.nii.gz", "mask.nrrd", "mask.seg.nrrd"])
@pytest.mark.parametrize("damage", ["no image", "cut off", "only the beginning", "missing"])
def test_a_damaged_file_is_refused_in_words_and_ends_nothing(scene, tmp_path, name, damage):
    import nibabel as nib

    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 2, (20, 18, 16)).astype(np.uint8) * LIVER
    node = importLabelmap(noise, TURNED, "Noise", scene)
    if name.startswith("mask.nii"):
        nib.save(nib.Nifti1Image(noise, TURNED), path)
    elif name == "mask.nrrd":
        exportLabelmap(node, path)
    else:
        saveMask(node, path)
    importLabelmap(path, scene=scene)
    count, data = scene.GetNumberOfNodes(), path.read_bytes()
    kept = {"no image": b"no image", "cut off": data[:-40], "only the beginning": data[:60]}
    path.write_bytes(kept.get(damage, b""))
    if damage == "missing":
        path.unlink()
    with pytest.raises(RuntimeError, match=rf"{name} cannot be read"):
        importLabelmap(path, scene=scene)
    assert scene.GetNumberOfNodes() == count


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "uint64", "float32", "float64"])
def test_complete_files_of_other_programs_are_taken(tmp_path, encoding, dtype):
    import nrrd

    path = tmp_path / "a.nrrd"
    header = {"space": "left-posterior-superior", "space directions": np.eye(3), "space origin": [0, 0, 0]}
    nrrd.write(str(path), np.ones((4, 5, 6), dtype), {**header, "encoding": encoding})
    assert isComplete(path)
    path.write_bytes(path.read_bytes()[:-20])
    assert isComplete(path) == (encoding == "bzip2")  # left to Slicer


def test_an_nrrd_type_that_is_not_known_is_left_to_slicer(tmp_path):
    path = tmp_path / "a.nrrd"
    path.write_bytes(b"NRRD0004\ntype: block\nsizes: 2 2\nencoding: raw\n\n1234")
    assert isComplete(path)


@pytest.mark.parametrize("kind", ["Nifti1Image", "Nifti2Image"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_nifti_file_that_lacks_the_last_slice_is_not_complete(tmp_path, kind, order, ending):
    import nibabel as nib

    image = getattr(nib, kind)(np.arange(120, dtype=f"{order}i2").reshape(4, 5, 6), TURNED)
    path, cut = tmp_path / f"a{ending}", tmp_path / f"b{ending}"
    nib.save(image, path)
    assert isComplete(path)
    opened = gzip.open if ending == ".nii.gz" else open
    with opened(path, "rb") as whole, opened(cut, "wb") as file:
        file.write(whole.read()[:-40])
    assert not isComplete(cut)


def test_the_header_of_a_pair_of_nifti_files_is_complete_without_voxels(tmp_path):
    import nibabel as nib

    nib.save(nib.Nifti1Pair(np.ones((4, 5, 6), np.uint8), TURNED), tmp_path / "a.hdr")
    (tmp_path / "a.hdr").rename(tmp_path / "a.nii")
    assert isComplete(tmp_path / "a.nii")


def test_the_colon_is_not_hidden_by_a_value_that_no_segment_has(scene, tmp_path):
    node = emptySegmentation(scene)
    addSegment(node, "colon", box((2, 5), (2, 5), (2, 5)))
    segmentOf(node, "colon").SetLabelValue(9)  # the voxels keep 1, which now belongs to nobody
    with pytest.raises(ValueError, match="has no voxels"):
        exportLabelmap(node, tmp_path / "a.nrrd")
    segmentOf(node, "colon").SetLabelValue(1)
    assert exportLabelmap(node, tmp_path / "a.nrrd").voxels == {COLON: 27}
