"""Results lie beside their input, remember how they were made, and are shown and judged."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is missing (extra module-test)")

from SynthCTLib.output import write_nifti
from SynthCTLib.volume import Volume
from SynthCTModule.NiftiFile import readNifti
from SynthCTModule.OrganCheckTable import GRAY, GREEN, RED, YELLOW, labelCenters, organRows
from SynthCTModule.ResultNodes import (
    ResultNodes,
    addResult,
    hierarchyItem,
    jumpTo,
    readResult,
    results,
    showResult,
    storedReport,
    storedSeed,
    storedSettings,
)
from SynthCTModule.SegmentationExchange import composeSegmentation, importLabelmap, readLabelmap
from SynthCTModule.SegmentLabels import resolveSegments
from SynthCTModule.VoxelGrid import arrayFromImage, volumeGrid
from SynthCTModule.WindowPresets import (
    WINDOWS,
    applyWindow,
    renderingPreset,
    showRendering,
    windowForRegion,
    windowPresets,
)
from SynthCTModule.Work import finished
from Testing.mrml.samples import GRIDS, LIVER, TURNED, box

SETTINGS = {
    "steps": 2,
    "device": 'cpu; "quoted" & 100% <odd>',
    "region": "Größe — 器官",
    "size": [16, 16, 16],
    "x": None,
}


def files(folder: Path) -> dict[str, Path]:
    return {"ct": folder / "ct.nii.gz", "mask": folder / "mask.nii.gz", "report": folder / "report.json"}


def imported_from(paths: dict[str, Path], *where: Any) -> ResultNodes:
    return addResult(finished(readResult(paths)), *where)


@pytest.fixture
def anatomy(scene) -> Any:
    """A segmentation in a folder of the subject hierarchy."""
    node = importLabelmap(box((2, 5), (2, 5), (2, 5)).astype(np.uint8) * LIVER, TURNED, "Anatomy", scene)
    hierarchy, item = hierarchyItem(node)
    hierarchy.SetItemParent(item, hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "Lesson 1"))
    return node


@pytest.fixture
def imported(scene, anatomy, result) -> ResultNodes:
    return imported_from(files(result), anatomy, SETTINGS, "Anatomy", scene)


def folderOf(node) -> str:
    hierarchy, item = hierarchyItem(node)
    return hierarchy.GetItemName(hierarchy.GetItemParent(item))


def test_ct_and_mask_have_the_voxels_and_the_place_of_the_files(imported, result):
    ct = nib.load(result / "ct.nii.gz")
    mask = nib.load(result / "mask.nii.gz")
    assert np.array_equal(arrayFromImage(imported.ct.GetImageData()), np.asarray(ct.dataobj))
    assert np.allclose(volumeGrid(imported.ct).affine, ct.affine, atol=1e-3)
    composed, _segments = composeSegmentation(imported.mask)
    assert np.array_equal(composed.array, np.asarray(mask.dataobj))
    assert np.allclose(composed.grid.affine, mask.affine, atol=1e-3)
    assert all(segment.source == "tag" for segment in resolveSegments(imported.mask))


def test_the_result_lies_beside_the_input_with_a_window_and_is_named_after_it(imported, anatomy):
    assert [folderOf(node) for node in (imported.ct, imported.mask, anatomy)] == ["Lesson 1"] * 3
    assert (imported.ct.GetName(), imported.mask.GetName()) == ("Anatomy CT", "Anatomy mask")
    display = imported.ct.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel(), display.GetAutoWindowLevel()) == (400.0, 40.0, 0)
    assert "SYNTHETIC" in imported.ct.GetDescription().upper()


def test_the_input_is_left_as_it_was(scene, anatomy, result):
    before = anatomy.GetMTime(), anatomy.GetSegmentation().GetMTime(), folderOf(anatomy), anatomy.GetName()
    imported_from(files(result), anatomy, SETTINGS, "Anatomy", scene)
    assert (anatomy.GetMTime(), anatomy.GetSegmentation().GetMTime(), folderOf(anatomy), anatomy.GetName()) == before


def test_several_results_stay_side_by_side(scene, anatomy, imported, result):
    second = imported_from(files(result), anatomy, {"steps": 9}, "Anatomy", scene)
    names = [node.GetName() for nodes in (imported, second) for node in (nodes.ct, nodes.mask)]
    assert len(set(names)) == 4
    assert [nodes.ct.GetID() for nodes in results(scene)] == [imported.ct.GetID(), second.ct.GetID()]
    assert storedSettings(imported.ct)["steps"] == 2 and storedSettings(second.mask)["steps"] == 9


def test_the_files_may_be_removed_after_the_import(scene, anatomy, result, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(result, copy)
    nodes = imported_from(files(copy), anatomy, SETTINGS, "Anatomy", scene)
    shutil.rmtree(copy)
    assert nodes.ct.GetStorageNode() is None and nodes.mask.GetStorageNode() is None
    assert arrayFromImage(nodes.ct.GetImageData()).any()


def test_settings_seed_and_report_are_there_again_when_the_scene_is_reopened(scene, imported, result, tmp_path):
    scene.SetRootDirectory(str(tmp_path))
    scene.SetURL(str(tmp_path / "Schöne Szene.mrml"))
    for node, ending in ((imported.ct, "nrrd"), (imported.mask, "seg.nrrd")):
        node.AddDefaultStorageNode()
        node.GetStorageNode().SetFileName(str(tmp_path / f"{node.GetID()}.{ending}"))
        assert node.GetStorageNode().WriteData(node)
    assert scene.Commit()
    scene.Clear(True)
    assert scene.Import()
    [nodes] = results(scene)
    assert storedSettings(nodes.ct) == storedSettings(nodes.mask) == SETTINGS
    assert storedSeed(nodes.ct) == 7
    assert storedReport(nodes.ct) == json.loads((result / "report.json").read_text(encoding="utf-8"))
    assert all(segment.source == "tag" for segment in resolveSegments(nodes.mask))


def test_nodes_that_are_no_results_have_nothing_stored(scene, anatomy):
    assert storedSettings(anatomy) is None and storedReport(anatomy) is None and storedSeed(anatomy) is None
    assert results(scene) == []


def two_results(result: Path) -> list[dict[str, Any]]:
    """As the last event of a run of two CTs names them."""
    return [{**{name: str(path) for name, path in files(result).items()}, "seed": seed} for seed in (7, 8)]


def nodes_of_results(scene: Any) -> int:
    return sum(map(scene.GetNumberOfNodesByClass, ("vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode")))


def test_nothing_is_in_the_scene_before_everything_is(scene, anatomy, result):
    from SynthCTModule.ImportRun import importRun

    work, steps, before = importRun(two_results(result), anatomy, SETTINGS, scene=scene), 0, scene.GetNumberOfNodes()
    try:
        while True:
            next(work)
            steps += 1
            assert scene.GetNumberOfNodes() == before
    except StopIteration as end:
        nodes = end.value
    assert steps >= 4 and results(scene) == nodes
    assert [storedSettings(one.ct)["seed"] for one in nodes] == [7, 8]
    assert storedSettings(nodes[1].ct)["count"] == 1 and nodes[1].mask.GetDisplayNode().GetVisibility()


@pytest.mark.parametrize("step", [0, 1, 2, 4])
def test_an_import_that_is_given_up_leaves_no_node_behind(scene, anatomy, result, step):
    from SynthCTModule.ImportRun import importRun

    work, before = importRun(two_results(result), anatomy, SETTINGS, scene=scene), scene.GetNumberOfNodes()
    for _number in range(step):
        next(work)
    work.close()
    assert scene.GetNumberOfNodes() == before


@pytest.mark.parametrize("broken", ["ct", "mask"])
def test_a_broken_second_result_takes_the_first_with_it(scene, anatomy, result, tmp_path, broken):
    from SynthCTModule.ImportRun import importRun

    copy = tmp_path / "run"
    shutil.copytree(result, copy)
    files(copy)[broken].write_bytes(b"broken")
    both = [two_results(result)[0], two_results(copy)[1]]
    with pytest.raises(RuntimeError, match=rf"{broken}\.nii\.gz cannot be read"):
        finished(importRun(both, anatomy, SETTINGS, scene=scene))
    assert nodes_of_results(scene) == 1  # the anatomy


@pytest.mark.parametrize(
    ("at", "field"),
    [(112, struct.pack("<f", 2.0)), (123, bytes([3])), (254, struct.pack("<h", 0))],
    ids=["scaled", "micrometers", "no sform"],
)
def test_files_that_are_not_as_the_engine_writes_them_are_left_to_slicer(scene, anatomy, result, tmp_path, at, field):
    copy = tmp_path / "run"
    shutil.copytree(result, copy)
    content = bytearray(gzip.decompress((copy / "ct.nii.gz").read_bytes()))
    content[at : at + len(field)] = field
    (copy / "ct.nii.gz").write_bytes(gzip.compress(bytes(content)))
    assert readNifti(copy / "ct.nii.gz") is None
    nodes = imported_from(files(copy), anatomy, SETTINGS, "Anatomy", scene)
    expected = np.asarray(nib.load(copy / "ct.nii.gz").dataobj)
    assert np.allclose(arrayFromImage(nodes.ct.GetImageData()), expected)
    assert nodes.ct.GetDisplayNode().GetWindow() == 400.0


@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "u2", "i4", "f4", "f8"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("grid", GRIDS)
def test_voxels_and_place_are_those_that_slicer_reads(tmp_path, kind, ending, grid):
    array = np.random.default_rng(0).integers(0, 120, (7, 6, 5)).astype(kind)
    path = tmp_path / f"Bild ä{ending}"
    write_nifti(path, Volume(array, GRIDS[grid]), "Test", {"note": "x" * 500})
    read, affine = readNifti(path)
    slicers, slicersAffine = readLabelmap(path)
    assert read.dtype == array.dtype and np.array_equal(read, slicers)
    assert np.allclose(affine, slicersAffine, atol=1e-4)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_file_that_is_cut_off_is_never_read(tmp_path, ending):
    path = tmp_path / f"cut{ending}"
    write_nifti(path, Volume(np.arange(4000, dtype=np.int16).reshape(10, 20, 20), np.eye(4)), "Test")
    whole = path.read_bytes()
    for length in (0, 100, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:length])
        with pytest.raises((EOFError, zlib.error)):
            readNifti(path)


@pytest.mark.parametrize("broken", ["ct", "mask"])
def test_a_broken_file_leaves_no_node_behind(scene, anatomy, result, tmp_path, broken):
    copy = tmp_path / "run"
    shutil.copytree(result, copy)
    files(copy)[broken].write_bytes(b"broken")
    count = scene.GetNumberOfNodes()
    with pytest.raises(RuntimeError, match=rf"{broken}\.nii\.gz cannot be read"):
        imported_from(files(copy), anatomy, SETTINGS, "Anatomy", scene)
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1 and scene.GetNumberOfNodes() <= count


def test_showing_a_result_sets_the_slice_views(scene, imported):
    for name in ("Red", "Green"):
        sliceNode = slicer.vtkMRMLSliceNode()
        sliceNode.SetLayoutName(name)
        sliceNode.SetName(name)
        scene.AddNode(sliceNode)
        composite = slicer.vtkMRMLSliceCompositeNode()
        composite.SetLayoutName(name)
        scene.AddNode(composite)
    showResult(imported)
    composites = [scene.GetNthNodeByClass(i, "vtkMRMLSliceCompositeNode") for i in range(2)]
    assert {composite.GetBackgroundVolumeID() for composite in composites} == {imported.ct.GetID()}
    assert imported.mask.GetDisplayVisibility()
    jumpTo((11.0, 22.0, 33.0), scene)
    toRas = scene.GetNthNodeByClass(0, "vtkMRMLSliceNode").GetSliceToRAS()
    assert [toRas.GetElement(axis, 3) for axis in range(3)] == [11.0, 22.0, 33.0]


def test_windows_are_the_radiologists(imported):
    assert {p.id: (p.window, p.level) for p in windowPresets()} == WINDOWS
    applyWindow(imported.ct, "lung")
    display = imported.ct.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel()) == (1500.0, -600.0)
    with pytest.raises(KeyError):
        applyWindow(imported.ct, "liver")


@pytest.mark.parametrize(
    ("region", "window", "rendering"),
    [
        (["head"], "brain", "CT-Bone"),
        (["chest"], "softTissue", "CT-Lung"),
        (["chest", "abdomen"], "softTissue", "CT-Bones"),
        (["head", "chest"], "softTissue", "CT-Bones"),
        ([], "softTissue", "CT-Bones"),
    ],
)
def test_each_region_has_its_window_and_rendering(region, window, rendering):
    assert (windowForRegion(region), renderingPreset(region)) == (window, rendering)


def test_volume_rendering_uses_the_preset_or_says_that_it_is_missing(scene, imported):
    logic = slicer.vtkSlicerVolumeRenderingLogic()
    logic.SetMRMLScene(scene)
    with pytest.raises(RuntimeError, match="no volume rendering preset 'CT-None'"):
        showRendering(imported.ct, "CT-None", logic)
    preset = slicer.vtkMRMLVolumePropertyNode()
    preset.SetName("CT-Lung")
    preset.GetVolumeProperty().SetAmbient(0.125)
    logic.AddPreset(preset)
    display = showRendering(imported.ct, "CT-Lung", logic)
    assert display.GetVisibility() and display.GetVolumeNodeID() == imported.ct.GetID()
    assert display.GetVolumePropertyNode().GetVolumeProperty().GetAmbient() == 0.125


def test_organs_have_a_light_and_a_place_inside_of_them(imported):
    report = storedReport(imported.ct)
    composed, _segments = composeSegmentation(imported.mask)
    rows = organRows(report, labelCenters(composed.array, composed.grid.affine))
    assert {row.name for row in rows} == {organ["name"] for organ in report["organs"]}
    for row in rows:
        assert row.center is not None
        voxel = np.linalg.inv(composed.grid.affine) @ [*row.center, 1.0]
        label = composed.array[tuple(np.rint(voxel[:3]).astype(int))]
        assert label == row.labelId or row.labelId is None
    lungs = next(row for row in rows if row.name.startswith("Lungs"))
    assert lungs.center == next(row.center for row in rows if row.labelId == 28)


@pytest.mark.parametrize(
    ("verdict", "group", "light"),
    [
        ("ok", None, GREEN),
        ("ok", "liver", GREEN),
        ("low", None, YELLOW),
        ("high", "bone", RED),
        ("too small", "liver", GRAY),
        ("no range", None, GRAY),
    ],
)
def test_the_light_is_red_only_for_what_fails_the_ct(verdict, group, light):
    organ = {"id": 1, "name": "Liver", "median_hu": 1.0, "low": 0.0, "high": 2.0, "sentence": "", "group": group}
    assert organRows({"organs": [{**organ, "verdict": verdict}]}, {})[0].light == light


def test_the_worst_organs_come_first():
    organ = {"name": "x", "median_hu": 1.0, "low": 0.0, "high": 2.0, "sentence": "", "group": None}
    verdicts = ["ok", "no range", "low"]
    rows = organRows({"organs": [{**organ, "id": 1, "verdict": verdict} for verdict in verdicts]}, {})
    assert [row.light for row in rows] == [YELLOW, GREEN, GRAY]


def test_the_place_of_a_hollow_structure_is_on_it_and_not_in_its_middle():
    ring = box((2, 13), (2, 13), (4, 5)).astype(np.uint8)
    ring[4:11, 4:11, 4] = 0
    x, y, z = np.linalg.inv(TURNED)[:3] @ [*labelCenters(ring, TURNED)[1], 1.0]
    assert ring[round(x), round(y), round(z)] == 1
