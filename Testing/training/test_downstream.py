"""Downstream use on small patients made here: who is kept apart, what is trained on what, and what is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.auto3dseg.utils import datafold_read

from SynthCTLib.errors import InputError
from Testing.training.downstream_cases import STRUCTURES, small_config, write_patients
from training.downstream import material as material_module
from training.downstream.cases import LabeledVolume, labeled_cases
from training.downstream.experiment import downstream
from training.downstream.folds import assign_folds, share_of
from training.downstream.material import Material, state_of
from training.downstream.page import short_commit
from training.downstream.runs import Run
from training.downstream.synthetic import refuse_seen


@pytest.fixture
def config(tmp_path: Path, tiny_model: Path) -> dict:
    write_patients(tmp_path / "prepared", 4)
    return small_config("downstream", tmp_path, tiny_model)


def volumes(count: int) -> list[LabeledVolume]:
    empty = np.zeros((1, 1, 1), np.uint8)
    return [
        LabeledVolume(f"c{n}", f"p{n}", "val" if n < 10 else "aux", empty, empty, empty, (4.0, 4.0, 4.0))
        for n in range(count)
    ]


def test_every_patient_is_tested_once_and_folds_have_equal_parts_of_both_splits() -> None:
    cases = volumes(25)
    folds = assign_folds(cases, 5, seed=1)
    for fold in range(5):
        members = {patient for patient, place in folds.items() if place == fold}
        assert len(members) == 5 and sum(case.split == "val" for case in cases if case.patient in members) == 2
    assert assign_folds(cases[::-1], 5, seed=1) == folds


def test_a_smaller_share_is_a_part_of_a_larger_one_and_never_empty() -> None:
    patients = [f"p{n}" for n in range(48)]
    few, many = share_of(patients, 0.25, 3), share_of(patients, 0.5, 3)
    assert len(few) == 12 and len(many) == 24 and few < many
    assert share_of(patients, 0.25, 4) != few
    assert len(share_of(patients, 0.01, 3)) == 1 and share_of(patients, 1.0, 3) == set(patients)


def test_arms_of_one_run_have_the_same_patients_and_none_of_the_test_fold() -> None:
    real = {case.patient: case for case in volumes(25)}
    made = {patient: replace(case, name=f"made {case.name}") for patient, case in real.items()}
    material = Material({"real": real, "synthetic": made}, assign_folds(list(real.values()), 5, 0))
    run = Run(seed=0, fold=2, share=0.5, arm="")
    both = material.training(run, ["real", "synthetic"])
    patients = [volume.patient for volume in both]
    assert patients[:10] == patients[10:] and len(set(patients)) == 10
    assert [volume.name.startswith("made") for volume in both] == [False] * 10 + [True] * 10
    assert material.training(run, ["real", "real"]) == both[:10] * 2
    assert not set(patients) & {volume.patient for volume in material.test(2)}


def test_a_generator_that_learned_from_one_of_the_patients_is_refused(config: dict, tmp_path: Path) -> None:
    cases = labeled_cases(config)
    refuse_seen(cases, config["generator"])
    with pytest.raises(InputError, match=r"trained on patient_0 \(4 in all\)"):
        refuse_seen(cases, config["generator"] | {"trained_on": config["prepared"], "seen": ["val"]})
    with pytest.raises(InputError, match=r"generator\.trained_on"):
        refuse_seen(cases, config["generator"] | {"trained_on": str(tmp_path / "nothing")})


def test_only_cases_with_every_structure_count(config: dict) -> None:
    extra = Path(config["prepared"]) / "patient_1" / "labels_extra.npy"
    drawn = np.load(extra)
    drawn[drawn == 213] = 0
    np.save(extra, drawn)
    found = labeled_cases(config)
    assert [case.name for case in found] == ["patient_0", "patient_2", "patient_3"]
    assert all(set(np.unique(case.classes)) == {0, 1, 2} and case.mask.max() == 200 for case in found)
    config["folds"] = 4
    with pytest.raises(InputError, match="Only 3 cases have all of spinal cord, mandible; 4 folds need more"):
        labeled_cases(config)


def test_one_command_trains_all_arms_and_goes_on_where_it_was_stopped(config: dict) -> None:
    downstream(config)
    card = json.loads(Path(config["out"]).read_text())
    assert card["n"] == 4 and set(card["shares"]) == {"0.5", "1"} and len(card["by_seed"]) == 1 * 2 * 4
    found = card["shares"]["1"]
    for name in [*STRUCTURES, "mean of structures"]:
        for metric in ("dice", "nsd"):
            assert all(0 <= value["mean"] <= 1 and value["n"] == 4 for value in found["arms"][name][metric].values())
            compared = found["comparisons"]["real + synthetic against real twice"][name][metric]
            arms = found["arms"][name][metric]
            difference = arms["real + synthetic"]["mean"] - arms["real twice"]["mean"]
            assert compared["difference"] == pytest.approx(difference) and 0 <= compared["p"] <= 1
    commits = {json.loads(path.read_text())["commit"] for path in (Path(config["run"]) / "results").iterdir()}
    assert card["result_commits"] == sorted(commits)
    page = Path(config["page"]).read_text()
    assert page.startswith("# Words\n") and page.endswith("after\n") and "| 50 % | real twice |" in page
    assert Path(config["figure"]).read_bytes().startswith(b"\x89PNG")
    kept = sorted((Path(config["run"]) / "results").iterdir())
    times = {path: path.stat().st_mtime_ns for path in kept}
    kept[0].unlink()
    downstream(config)
    again = {path: path.stat().st_mtime_ns for path in kept}
    assert [path for path in kept if again[path] != times[path]] == [kept[0]]
    assert json.loads(Path(config["out"]).read_text())["shares"] == card["shares"]  # the same run, the same weights


def test_auto3dseg_reads_the_datalist_and_the_synthetic_ct_is_for_training_only(config: dict) -> None:
    config["folds"], config["test_folds"], config["arms"] = 4, [0], {"real + synthetic": ["real", "synthetic"]}
    config |= {"compare": [], "shares": [1.0]}
    downstream(config)
    root = Path(config["run"]) / "auto3dseg"
    datalist = root / "fold 0, real + synthetic.json"
    training, validation = datafold_read(str(datalist), str(root), fold=0)
    assert len(training) == 4 and len(validation) == 1 and "/real/" in validation[0]["image"]
    assert all(nib.load(item["image"]).shape == nib.load(item["label"]).shape for item in [*training, *validation])
    test = json.loads(datalist.read_text())["testing"]
    used = {Path(item["image"]).name for item in [*training, *validation]}
    assert len(test) == 1 and Path(test[0]["image"]).name not in used and len(used) == 3


def test_an_arm_of_unknown_volumes_and_a_comparison_of_unknown_arms_are_named(config: dict) -> None:
    with pytest.raises(InputError, match="arm 'odd' must be a list of real and synthetic"):
        downstream(config | {"arms": {"odd": ["imagined"]}, "compare": []})
    with pytest.raises(InputError, match="no arm 'other' to compare"):
        downstream(config | {"compare": [["real", "other"]]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shares": [0.5, 1.5]}, "'shares' must be numbers above 0 and up to 1"),
        ({"test_folds": [2]}, "'test_folds' must be among 0 … 1"),
        ({"training": {"steps": 0}}, "not valid at 'training"),
        ({"generator": {}}, "has no 'generator.model'"),
    ],
)
def test_a_config_that_cannot_be_used_is_refused_before_anything_is_made(
    config: dict, change: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        downstream(config | change)
    assert not Path(config["run"]).exists()


def test_a_place_where_results_cannot_be_written_is_found_before_the_grid(config: dict, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'figure' must be a file below"):
        downstream(config | {"figure": str(tmp_path.parent / "figure.png")})
    Path(config["page"]).write_text("# Words\n")
    with pytest.raises(InputError, match="has no lines '<!-- downstream: begin -->'"):
        downstream(config)
    assert not Path(config["run"]).exists()


def test_the_state_of_results_changes_with_prepared_data_and_with_the_weights_of_the_generator(
    config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    material = Material({}, {"p0": 0})
    states = [state_of(config, ["seed"], material), state_of(config, ["seed"], material)]
    with monkeypatch.context() as other:
        other.setattr(material_module, "weights_of", lambda _: ["0" * 64])
        states.append(state_of(config, ["seed"], material))
    path = Path(config["prepared"]) / "cases.json"
    path.write_text(path.read_text() + "\n")
    states.append(state_of(config, ["seed"], material))
    assert states[0] == states[1] and len(set(states)) == 3


def test_a_commit_is_shortened_and_keeps_what_is_said_about_it() -> None:
    assert short_commit("0123456789abcdef" * 2 + "01234567, with uncommitted changes") == (
        "0123456789ab, with uncommitted changes"
    )
    assert short_commit("unknown (not run from a git checkout)") == "unknown (not run from a git checkout)"
