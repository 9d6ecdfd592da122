"""Every kind of folder that ``prepare`` takes, as small files in the real format, down to the arrays it writes."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest

from SynthCTLib.errors import InputError
from training import recipes
from training.config import load_config
from training.prepare import prepare
from training.recipes import load_recipe, recipe_names, with_recipe

SHAPE = (40, 36, 20)


def chest(shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> np.ndarray:
    """int16 HU, axes RAS: a body with fat, muscle and two lungs in air; no two voxels' surroundings are alike."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    hu = np.where((x / 0.9) ** 2 + (y / 0.8) ** 2 < 1, 40.0, -1000.0)
    for side in (-0.4, 0.4):
        hu[((x - side) / 0.25) ** 2 + (y / 0.5) ** 2 + (z / 0.8) ** 2 < 1] = -850
    noise = np.random.default_rng(seed).normal(0, 8, shape)
    return np.clip(hu + noise, -1000, 3000).astype(np.int16)


def save(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([3.0, 3.0, 4.0, 1.0]) if affine is None else affine), path)


def run(source: Path, tmp_path: Path, **changes: object) -> tuple[dict[str, dict], dict[str, str], Path]:
    """(cases by id, reasons by id, folder) of ``prepare`` with the settings of a recipe or folder."""
    config = {
        "source": str(source),
        "data": changes.pop("data", {"kind": "auto"}),
        "prepared": str(tmp_path / "prepared"),
        "splits": ["train", "val"],
        "split": {"train": 0.5, "val": 0.5, "seed": 0},
        "checks": {"min_extent": 10},
        **changes,
    }
    prepare(config)
    listed = json.loads((tmp_path / "prepared" / "cases.json").read_text())
    cases = {case["case_id"]: case for case in listed["cases"]}
    return cases, {item["case_id"]: item["reason"] for item in listed["left_out"]}, tmp_path / "prepared"


def ids_of(folder: Path, case_id: str, name: str = "labels") -> np.ndarray:
    return np.load(folder / case_id / f"{name}.npy")


def test_a_folder_of_mixed_files_becomes_cases_with_the_labels_beside_them(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    first, labels = chest(seed=1), np.zeros(SHAPE, np.uint8)
    labels[5:9, 10:20, 3:9] = 1
    lps = np.diag([-3.0, -3.0, 4.0, 1.0])
    save(root / "anna.nii.gz", first[::-1, ::-1], lps)
    save(root / "anna_labels.nii.gz", labels[::-1, ::-1], lps)
    header = {
        "space": "left-posterior-superior",
        "space directions": np.diag([-3.0, -3.0, 4.0]),
        "space origin": np.zeros(3),
    }
    nrrd.write(str(root / "bert.nrrd"), chest(seed=2), header)
    save(root / "carl" / "ct.nii", chest(seed=3))
    for name in ("liver", "vertebrae_L1", "left_wing"):
        mask = np.zeros(SHAPE, np.uint8)
        mask[20:24, 10:20, 3:9] = name == "liver"
        save(root / "carl" / "segmentations" / f"{name}.nii.gz", mask)
    save(root / "orphan_seg.nii.gz", labels)
    (root / "broken.nii.gz").write_bytes(b"no image")
    (root / "readme.txt").write_text("ten CTs")
    cases, left_out, folder = run(root, tmp_path, data={"kind": "auto", "scheme": "maisi", "region": ["abdomen"]})
    assert sorted(cases) == ["anna", "bert", "carl"]
    assert np.array_equal(np.load(folder / "anna" / "ct.npy"), first)
    assert np.array_equal(ids_of(folder, "anna"), labels)
    assert not (folder / "bert" / "labels.npy").exists()
    assert np.array_equal(np.load(folder / "bert" / "ct.npy"), chest(seed=2))
    assert cases["bert"]["spacing"] == pytest.approx([3, 3, 4])
    assert np.unique(ids_of(folder, "carl")).tolist() == [0, 1]
    assert "left_wing" in " ".join(finding["text"] for finding in cases["carl"]["findings"])
    assert "cut off, damaged" in left_out["broken"]
    assert left_out["orphan_seg.nii.gz"] == "labels without an image beside them"
    assert "readme.txt" in left_out["."]


def test_labels_on_another_grid_are_moved_and_unusable_ones_do_not_cost_the_image(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    save(root / "a.nii.gz", chest())
    coarse = np.zeros((20, 18, 10), np.uint8)
    coarse[2:6, 4:8, 2:6] = 1
    half = np.diag([6.0, 6.0, 8.0, 1.0])
    half[:3, 3] = [1.5, 1.5, 2.0]
    save(root / "a_labels.nii.gz", coarse, half)
    save(root / "b.nii.gz", chest())
    save(root / "b_labels.nii.gz", chest())
    cases, left_out, folder = run(root, tmp_path, data={"kind": "images", "scheme": "maisi"})
    expected = coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    assert np.array_equal(ids_of(folder, "a"), expected)
    assert [f["code"] for f in cases["a"]["findings"]] == ["labels-resampled"]
    assert "labels-unusable" in [f["code"] for f in cases["b"]["findings"]] and not left_out
    assert cases["a"]["region"] == ["abdomen"]  # from the label; nothing says it for the other
    assert "no-region" in [f["code"] for f in cases["b"]["findings"]]


def test_scans_of_one_patient_stay_in_one_split_and_an_unknown_patient_is_left_out(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    for number in range(12):
        save(root / f"p{number // 2:02d}_day{number % 2}.nii.gz", chest(seed=number))
    save(root / "stray.nii.gz", chest())
    cases, left_out, _ = run(root, tmp_path, data={"kind": "images", "patient": r"^p\d\d", "region": ["chest"]})
    assert len(cases) == 12 and "does not fit the patient pattern" in left_out["stray.nii.gz"]
    sides: dict[str, set[str]] = {}
    for case_id, case in cases.items():
        assert case["patient"] == case_id[:3]
        sides.setdefault(case["patient"], set()).add(case["split"])
    assert all(len(splits) == 1 for splits in sides.values())
    assert {split for splits in sides.values() for split in splits} == {"train", "val"}


def decathlon(root: Path) -> np.ndarray:
    """A task as it is unpacked; the labels of its first case."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[5:15, 10:20, 3:9], labels[8:10, 12:14, 5:7] = 1, 2
    for number in (0, 1):
        save(root / "imagesTr" / f"liver_{number}.nii.gz", chest(seed=number))
        save(root / "labelsTr" / f"liver_{number}.nii.gz", labels)
        (root / "imagesTr" / f"._liver_{number}.nii.gz").write_bytes(b"macOS")
    save(root / "imagesTs" / "liver_9.nii.gz", chest(seed=9))
    listed = {
        "name": "Liver",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "liver", "2": "cancer"},
        "training": [
            {"image": f"./imagesTr/liver_{n}.nii.gz", "label": f"./labelsTr/liver_{n}.nii.gz"} for n in (0, 1, 5)
        ],
        "test": ["./imagesTs/liver_9.nii.gz"],
    }
    (root / "dataset.json").write_text(json.dumps(listed))
    return labels


def test_a_decathlon_task_gets_the_labels_of_its_recipe(tmp_path: Path) -> None:
    root = tmp_path / "Task03_Liver"
    labels = decathlon(root)
    cases, left_out, folder = run(root, tmp_path, data={"recipe": "msd-task03-liver"})
    first, test = "msd-task03-liver_imagesTr_liver_0", "msd-task03-liver_imagesTs_liver_9"
    assert set(cases) == {first, first[:-1] + "1", test}
    assert np.array_equal(ids_of(folder, first), np.array([0, 1, 26], np.uint8)[labels])
    assert len({case["patient"] for case in cases.values()}) == 3
    assert not (folder / test / "labels.npy").exists()
    assert cases[first]["licence"] == "CC BY-SA 4.0" and cases[first]["region"] == ["abdomen"]
    assert "not in the folder" in left_out["./imagesTr/liver_5.nii.gz"]


def test_a_decathlon_task_of_mr_is_refused_in_words(tmp_path: Path) -> None:
    decathlon(tmp_path / "Task04")
    path = tmp_path / "Task04" / "dataset.json"
    path.write_text(path.read_text().replace('"CT"', '"MRI"'))
    with pytest.raises(InputError, match="has MRI, not CT"):
        run(tmp_path / "Task04", tmp_path, data={"kind": "msd"})


def test_a_totalsegmentator_folder_keeps_its_split_and_its_structures(tmp_path: Path) -> None:
    root = tmp_path / "Totalsegmentator_dataset_v201"
    for name in ("s0000", "s0001", "s0002", "s0003"):
        save(root / name / "ct.nii.gz", chest())
        for structure, x in (("liver", 25), ("vertebrae_T12", 18), ("lung_upper_lobe_left", 8), ("rib_left_1", None)):
            mask = np.zeros(SHAPE, np.uint8)
            if x is not None:
                mask[x : x + 4, 10:20, 3:9] = 1
            save(root / name / "segmentations" / f"{structure}.nii.gz", mask)
    (root / "s0003" / "ct.nii.gz").unlink()
    rows = ["image_id;age;gender;institute;study_type;split;manufacturer", "s0000;60;m;A;ct thorax;train;x"]
    rows += ["s0001;61;f;A;ct thorax;val;x", "s0002;62;f;A;ct thorax;test;x", "s0003;62;f;A;ct thorax;train;x"]
    (root / "meta.csv").write_text("\ufeff" + "\n".join(rows), encoding="utf-8")
    cases, left_out, folder = run(root, tmp_path, data={"recipe": "totalsegmentator"})
    assert {name: case["split"] for name, case in cases.items()} == {
        "totalsegmentator_s0000": "train",
        "totalsegmentator_s0001": "val",
    }
    labels = ids_of(folder, "totalsegmentator_s0000")
    assert (labels[25, 10, 3], labels[18, 10, 3], labels[8, 10, 3]) == (1, 38, 28)
    assert cases["totalsegmentator_s0000"]["region"] == ["chest", "abdomen"]
    assert left_out == {"totalsegmentator_s0002": "split test is not used", "s0003": "no ct.nii.gz"}


def sparse(path: Path, array: np.ndarray, values: bool) -> None:
    """A table of OpenKBP from an array with axes posterior, left, inferior."""
    flat = array.ravel()
    rows = [f"{index},{float(flat[index]) if values else ''}" for index in np.flatnonzero(flat)]
    path.write_text("\n".join([",data", *rows]) + "\n")


def test_openkbp_tables_become_hu_with_the_jaw_in_front_and_parotids_on_their_sides(tmp_path: Path) -> None:
    for group, number in (("train-pats", 1), ("validation-pats", 201), ("test-pats", 241)):
        folder = tmp_path / "provided-data" / group / f"pt_{number}"
        folder.mkdir(parents=True)
        ct = np.zeros((128, 128, 128))
        ct[40:80, 40:90, 20:60] = 1040
        sparse(folder / "ct.csv", ct, True)
        (folder / "voxel_dimensions.csv").write_text("3.906\n3.906\n2.5\n")
        boxes = {
            "Mandible": (slice(42, 46), slice(60, 70), slice(40, 44)),
            "SpinalCord": (slice(70, 74), slice(62, 66), slice(30, 58)),
            "LeftParotid": (slice(55, 60), slice(80, 86), slice(30, 36)),
            "RightParotid": (slice(55, 60), slice(44, 50), slice(30, 36)),
            "PTV70": (slice(50, 60), slice(50, 60), slice(40, 50)),
        }
        for name, box in boxes.items():
            mask = np.zeros((128, 128, 128))
            mask[box] = 1
            sparse(folder / f"{name}.csv", mask, False)
    cases, left_out, folder = run(tmp_path / "provided-data", tmp_path, data={"recipe": "openkbp"})
    assert {name: case["split"] for name, case in cases.items()} == {"openkbp_pt_1": "train", "openkbp_pt_201": "val"}
    assert left_out == {"openkbp_pt_241": "split test is not used"}
    hu = np.load(folder / "openkbp_pt_1" / "ct.npy")
    extra, given = ids_of(folder, "openkbp_pt_1", "labels_extra"), ids_of(folder, "openkbp_pt_1")
    assert sorted(np.unique(hu).tolist()) == [-1000, 40] and np.unique(given).tolist() == [0, 121]
    center = {i: np.argwhere(extra == i).mean(0) for i in (210, 211, 213)}
    cord = np.argwhere(given == 121).mean(0)
    assert center[210][0] > center[211][0] + 20  # the right parotid is farther toward the right
    assert center[213][1] > cord[1] + 20  # the jaw is in front of the cord
    assert center[210][2] > cord[2]  # inferior came last in the table, superior does here
    assert cases["openkbp_pt_1"]["group"] == "openkbp" and cases["openkbp_pt_1"]["region"] == ["head", "chest"]


def test_the_covid_and_autopet_recipes_take_the_ct_files_and_group_them_by_patient(tmp_path: Path) -> None:
    covid = tmp_path / "covid"
    for name in ("volume-covid19-A-0011", "volume-covid19-A-0011_day003", "volume-covid19-A-0025"):
        save(covid / f"{name}.nii.gz", chest())
    cases, _, _ = run(covid, tmp_path / "a", data={"recipe": "tcia-covid"})
    assert [case["patient"].split("_")[1] for case in cases.values()] == [
        f"volume-covid19-A-00{n}" for n in (11, 11, 25)
    ]
    pet = tmp_path / "pet"
    for number, study in (("0a1b", "03-23-2003"), ("0a1b", "04-01-2004"), ("77ff", "01-01-2001")):
        for name in ("CT", "CTres", "PET", "SUV", "SEG"):
            save(pet / f"PETCT_{number}" / f"{study}-NA-PET-CT" / f"{name}.nii.gz", chest())
    cases, left_out, _ = run(pet, tmp_path / "b", data={"recipe": "autopet-2023"})
    assert len(cases) == 3 and not left_out
    assert {case["patient"] for case in cases.values()} == {"autopet-2023_PETCT_0a1b", "autopet-2023_PETCT_77ff"}


def test_every_recipe_names_licence_citation_and_labels_that_exist() -> None:
    from SynthCTLib.labels import load_vocabulary

    assert len(recipe_names()) == 12
    for name in recipe_names():
        recipe = load_recipe(name)
        assert all(recipe[key] for key in ("title", "url", "layout", "kind", "collection", "licence", "citation"))
        for label in recipe.get("labels", {}).values():
            assert load_vocabulary().find(label).name == label
    assert with_recipe({"recipe": "openkbp", "licence": None, "region": ["head"]})["region"] == ["head"]
    own = load_config(Path(recipes.__file__).parents[1] / "configs" / "own_folder.json", ["data.recipe=openkbp"])
    settings = with_recipe(own["data"])
    assert settings["kind"] == "openkbp" and settings["licence"].startswith("MIT")
    with pytest.raises(InputError, match="There is no recipe 'msd'; use one of adni, autopet-2023"):
        with_recipe({"recipe": "msd"})
