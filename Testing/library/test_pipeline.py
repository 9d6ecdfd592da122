"""From mask file to result folder, with a tiny random model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from SynthCTLib import decoder, memory_plan, pipeline
from SynthCTLib.cards import list_cards, load_card
from SynthCTLib.errors import Cancelled, InputError, ResourceError
from SynthCTLib.findings import Finding
from SynthCTLib.job import RETRY_STRIDE, Job
from SynthCTLib.organ_check import OrganResult
from SynthCTLib.output import DISCLAIMER
from SynthCTLib.pipeline import generate, prepare_only, resolve_settings
from SynthCTLib.progress import Progress, ProgressEvent

FILES = {"ct.nii.gz", "mask.nii.gz", "report.json", "preview.png"}


@pytest.fixture
def job(tiny_model: Path, phantom: Path, tmp_path: Path) -> Job:
    return Job(phantom, tmp_path / "Ergebnis 1", str(tiny_model), labels="maisi", seed=5, device="cpu")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def verdict(median: float, verdict: str, name: str = "Liver", group: str | None = "liver") -> list[OrganResult]:
    return [OrganResult(1, name, 100, median, 0.0, 100.0, verdict, f"{name}: {verdict}.", group)]  # type: ignore[arg-type]


def same_image(first: Path, second: Path) -> bool:
    """Whether voxels and affine agree bit for bit; the headers differ by the time that each run took."""
    a, b = nib.load(first), nib.load(second)
    return np.array_equal(a.dataobj, b.dataobj) and np.array_equal(a.affine, b.affine)


def test_generate_writes_the_four_files_and_nothing_else(job: Job) -> None:
    (ct,) = generate(job).cts
    assert names(job.out) == FILES
    assert names(job.out.parent) == {"Ergebnis 1", "Fälle neu"}
    assert ct.folder == job.out and ct.seed == 5


def test_the_ct_is_int16_hu_with_air_where_the_mask_is_empty(job: Job) -> None:
    generate(job)
    ct, mask = (nib.load(job.out / f"{name}.nii.gz") for name in ("ct", "mask"))
    hu, labels = np.asarray(ct.dataobj), np.asarray(mask.dataobj)
    assert hu.dtype == np.int16
    assert (hu[labels == 0] == -1000).all() and (labels == 0).any()
    assert hu.min() >= -1000 and hu.max() <= 1000 and hu[labels > 0].std() > 0
    np.testing.assert_array_equal(ct.affine, mask.affine)
    assert set(np.unique(labels)) == {0, 1, 28, 30, 115, 121, 200}


def test_the_same_seed_gives_the_same_ct_bit_for_bit_and_another_seed_does_not(job: Job, tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        generate(replace(job, out=tmp_path / name, seed=seed))
    a, b, c = (tmp_path / name / "ct.nii.gz" for name in "abc")
    assert same_image(a, b) and not same_image(b, c)


def test_how_the_image_was_cut_for_decoding_is_reported(job: Job) -> None:
    generate(job)
    report = json.loads((job.out / "report.json").read_text(encoding="utf-8"))
    assert report["decode"]["tiles"] == [1, 1, 1]
    assert report["decode"]["memory_mb"] >= 0 and report["decode"]["reduced"] is False
    assert report["decode"]["precision"] in ("float16", "bfloat16", "float32")


def test_with_too_little_free_memory_there_are_more_tiles_and_that_is_told(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(replace(job, out=tmp_path / "whole"))
    monkeypatch.setattr(memory_plan, "SIDES", (2,))
    monkeypatch.setattr(decoder, "free_memory", lambda _: 0)
    (ct,) = generate(job).cts
    report = json.loads((job.out / "report.json").read_text(encoding="utf-8"))
    assert report["decode"]["tiles"] == [2, 2, 2] and report["decode"]["reduced"] is True
    assert any("Memory ran short" in sentence and "8 pieces" in sentence for sentence in ct.summary)
    whole, tiled = (np.asanyarray(nib.load(out / "ct.nii.gz").dataobj) for out in (tmp_path / "whole", job.out))
    assert np.abs(whole.astype(int) - tiled).max() <= 1


def test_a_job_without_seed_draws_one_and_reports_it(job: Job, tmp_path: Path) -> None:
    (ct,) = generate(replace(job, seed=None)).cts
    report = json.loads((job.out / "report.json").read_text(encoding="utf-8"))
    assert report["seed"] == ct.seed == report["job"]["seed"]
    generate(replace(job, out=tmp_path / "again", seed=ct.seed))
    assert same_image(tmp_path / "again" / "ct.nii.gz", job.out / "ct.nii.gz")


def test_on_request_the_result_is_on_the_grid_of_the_input(job: Job, phantom: Path) -> None:
    generate(replace(job, grid="input"))
    source, ct, mask = (nib.load(p) for p in (phantom, job.out / "ct.nii.gz", job.out / "mask.nii.gz"))
    assert ct.shape == mask.shape == source.shape
    np.testing.assert_allclose(ct.affine, source.affine, atol=1e-5)
    assert ct.get_data_dtype() == np.int16
    same = np.asarray(mask.dataobj) == np.asarray(source.dataobj)
    assert same.mean() > 0.8


def test_a_result_on_the_grid_of_the_input_is_there_on_the_models_grid_too(job: Job, tmp_path: Path) -> None:
    (ct,) = generate(replace(job, grid="input")).cts
    generate(replace(job, out=tmp_path / "model"))
    pair = {"ct_model_grid.nii.gz", "mask_model_grid.nii.gz"}
    assert names(job.out) == FILES | pair and names(tmp_path / "model") == FILES
    for name in ("ct", "mask"):
        assert same_image(job.out / f"{name}_model_grid.nii.gz", tmp_path / "model" / f"{name}.nii.gz")
        assert ct.to_json()[f"{name}_model_grid"] == str(job.out / f"{name}_model_grid.nii.gz")
        header = nib.load(job.out / f"{name}_model_grid.nii.gz").header
        assert json.loads(header.extensions[0].get_content())["grid"] == "model"
    report = json.loads((job.out / "report.json").read_text(encoding="utf-8"))
    assert set(report["files"].values()) == FILES | pair
    generate(job)  # replaces the earlier result, the pair included
    assert names(job.out) == FILES


def test_several_cts_go_into_numbered_folders_with_seeds_that_follow(job: Job) -> None:
    result = generate(replace(job, count=2))
    assert names(job.out) == {"001", "002"}
    assert names(job.out / "001") == names(job.out / "002") == FILES
    assert [ct.seed for ct in result.cts] == [5, 6]
    assert [ct.folder for ct in result.cts] == [job.out / "001", job.out / "002"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"steps": 2, "solver": "euler"}),
        ({"preset": "draft"}, {"steps": 1, "solver": "euler"}),
        ({"preset": "best"}, {"steps": 3, "solver": "ab2"}),
        ({"preset": "best", "steps": 4}, {"steps": 4, "solver": "ab2"}),
    ],
)
def test_a_preset_names_steps_and_solver_and_what_is_given_beside_it_counts_more(
    job: Job, changes: dict, expected: dict
) -> None:
    settings = resolve_settings(replace(job, **changes), load_card(job.model))
    assert settings == expected | {"guidance": 0.0, "temperature": 1.0}


def test_a_preset_that_a_model_does_not_have_is_refused(job: Job) -> None:
    card = replace(load_card(job.model), presets={})
    with pytest.raises(InputError, match="no preset 'draft'"):
        resolve_settings(replace(job, preset="draft"), card)


def test_standard_is_the_default_of_every_model_with_presets() -> None:
    assert any(card.presets for card in list_cards())
    for card in list_cards():
        if card.presets:
            assert {key: card.defaults[key] for key in ("steps", "solver")} == card.presets["standard"]


def test_the_report_says_what_was_made_from_what_with_what(job: Job) -> None:
    generate(replace(job, steps=1))
    report = json.loads((job.out / "report.json").read_text(encoding="utf-8"))
    assert report["disclaimer"] == DISCLAIMER and DISCLAIMER in report["summary"][0]
    assert report["model"]["id"] == "tiny"
    assert set(report["model"]["sha256"]) == {"autoencoder", "unet", "controlnet"}
    assert report["settings"] == {"steps": 1, "solver": "euler", "guidance": 0.0, "temperature": 1.0}
    assert report["device"]["device"] == "cpu"
    assert report["result"]["shape"] == [16, 16, 16] and report["result"]["orientation"] == "RAS"
    assert {"prepare", "load", "denoise", "decode", "total"} <= set(report["timings"])
    assert "torch" in report["versions"] and "python" in report["versions"]
    assert {1, 28, 30, 115} <= {organ["id"] for organ in report["organs"]}
    assert "lung" in " ".join(organ["name"] for organ in report["organs"])
    assert report["input"]["file"] == "labels.nii.gz"


def test_the_ct_carries_its_provenance_in_its_header(job: Job) -> None:
    generate(job)
    header = nib.load(job.out / "ct.nii.gz").header
    assert header["descrip"].item().decode().startswith(DISCLAIMER)
    comment = json.loads(header.extensions[0].get_content())
    assert comment["disclaimer"] == DISCLAIMER
    assert comment["model"]["id"] == "tiny" and comment["seed"] == 5 and comment["settings"]["steps"] == 2
    assert comment["region"] == ["chest", "abdomen"] and comment["model_grid"]["size"] == [16, 16, 16]
    assert comment["grid"] == "model" and comment["device"]["device"] == "cpu" and "torch" in comment["versions"]
    assert {"prepare", "load", "denoise", "decode", "check", "total"} <= set(comment["timings"])
    assert all(seconds >= 0 for seconds in comment["timings"].values()) and comment["timings"]["denoise"] > 0
    assert str(job.out.parent) not in json.dumps(comment)


@pytest.mark.parametrize("step", ["load_networks", "embed_labels", "prepare_mask", "resample_image"])
def test_running_out_of_memory_anywhere_is_one_sentence_and_leaves_nothing(
    job: Job, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(pipeline, step, full)
    with pytest.raises(ResourceError, match="smaller --size"):
        generate(replace(job, grid="input"))
    assert names(job.out.parent) == {"Fälle neu"}


def test_retries_try_new_seeds_and_keep_the_first_that_passes(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([verdict(-500, "low"), verdict(50, "ok"), verdict(60, "ok")])
    monkeypatch.setattr(pipeline, "check_organs", lambda *_: next(answers))
    (ct,) = generate(replace(job, retries=5)).cts
    report = json.loads((job.out / "report.json").read_text(encoding="utf-8"))
    assert ct.seed == report["seed"] == 5 + RETRY_STRIDE
    assert [attempt["passed"] for attempt in report["attempts"]] == [False, True]
    assert any("2 seeds were tried" in sentence for sentence in report["summary"])


def test_single_structures_are_told_but_do_not_make_a_ct_fail(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    organs = [*verdict(50, "ok"), *verdict(-500, "low", "Left rib 7", None)]
    monkeypatch.setattr(pipeline, "check_organs", lambda *_: organs)
    (ct,) = generate(replace(job, retries=3)).cts
    report = json.loads((job.out / "report.json").read_text(encoding="utf-8"))
    assert ct.passed and ct.seed == 5 and ct.score == 0.5
    assert len(report["attempts"]) == 1 and report["passed"] is True
    assert report["organs"][1]["verdict"] == "low"
    assert "Organ check: 1 of 1 organ groups pass." in ct.summary and "Left rib 7: low." in ct.summary


def test_the_seed_with_fewer_failed_groups_beats_one_with_more_good_structures(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    ribs = verdict(-500, "low", "Left rib 7", None)
    many_ribs = [*verdict(-500, "low"), *verdict(-500, "low", "Spleen", "spleen"), *verdict(50, "ok", "Rib", None) * 9]
    answers = iter([many_ribs, [*verdict(-500, "low"), *ribs]])
    monkeypatch.setattr(pipeline, "check_organs", lambda *_: next(answers))
    (ct,) = generate(replace(job, retries=1)).cts
    report = json.loads((job.out / "report.json").read_text(encoding="utf-8"))
    assert ct.seed == 5 + RETRY_STRIDE and not ct.passed
    assert [attempt["failed_groups"] for attempt in report["attempts"]] == [["liver", "spleen"], ["liver"]]


def test_a_mask_without_any_organ_group_passes_and_the_summary_says_that_nothing_was_judged(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "check_organs", lambda *_: verdict(50, "ok", "Aorta", None))
    (ct,) = generate(job).cts
    assert ct.passed and any("nothing to judge by" in sentence for sentence in ct.summary)


def test_when_no_seed_passes_the_best_is_kept_and_said_to_have_flaws(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, half = verdict(-500, "low"), [*verdict(-500, "low"), *verdict(50, "ok")]
    answers = iter([bad, half, bad])
    monkeypatch.setattr(pipeline, "check_organs", lambda *_: next(answers))
    (ct,) = generate(replace(job, retries=2)).cts
    assert ct.seed == 5 + RETRY_STRIDE and ct.score == 0.5
    assert any("still has flaws" in sentence for sentence in ct.summary)
    assert "Liver: low." in ct.summary


def test_a_retried_ct_is_the_one_that_its_seed_gives(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([verdict(-500, "low"), verdict(50, "ok")])
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "check_organs", lambda *_: next(answers))
        (ct,) = generate(replace(job, retries=1)).cts
    generate(replace(job, out=tmp_path / "again", seed=ct.seed))
    assert same_image(tmp_path / "again" / "ct.nii.gz", job.out / "ct.nii.gz")


def test_guidance_changes_the_ct_of_a_mask_with_a_tumor(job: Job, phantom: Path, tmp_path: Path) -> None:
    image = nib.load(phantom)
    labels = np.array(image.dataobj)
    labels[11:15, 5:9, 0:3] = 26
    nib.save(nib.Nifti1Image(labels, image.affine), phantom)
    generate(job)
    # Random weights hardly react to the mask: a usual guidance changes the latent by 1e-5, less than one HU.
    generate(replace(job, out=tmp_path / "guided", guidance=1e6))
    assert not same_image(tmp_path / "guided" / "ct.nii.gz", job.out / "ct.nii.gz")


def test_progress_runs_through_all_stages_in_order(job: Job) -> None:
    events: list[ProgressEvent] = []
    generate(job, Progress(events.append))
    stages = list(dict.fromkeys(event.stage for event in events))
    assert stages == ["prepare", "load", "embed", "denoise", "decode", "write"]
    assert [event.step for event in events if event.stage == "denoise"] == [0, 1, 2]


@pytest.mark.parametrize("stage", ["prepare", "denoise", "decode", "write"])
def test_cancelling_in_any_stage_leaves_nothing_behind(job: Job, stage: str) -> None:
    reached: list[str] = []
    progress = Progress(lambda event: reached.append(event.stage), lambda: stage in reached)
    with pytest.raises(Cancelled):
        generate(job, progress)
    assert names(job.out.parent) == {"Fälle neu"}


def test_a_finding_that_makes_the_ct_unusable_stops_before_the_model_runs(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = pipeline.prepare_mask(job.mask, pipeline.load_card(job.model), scheme="maisi")
    bad = replace(prepared, findings=[Finding("error", "test", "The spine is missing.", "Add it.")])
    monkeypatch.setattr(pipeline, "prepare_mask", lambda *_, **__: bad)
    monkeypatch.setattr(pipeline, "load_networks", lambda *_: pytest.fail("the model was loaded"))
    seen: list[Finding] = []
    with pytest.raises(InputError, match=r"The spine is missing\. Add it\."):
        generate(job, on_finding=seen.append)
    assert seen == bad.findings
    assert not job.out.exists()


def test_a_solver_of_another_family_is_refused_before_anything_runs(job: Job) -> None:
    with pytest.raises(InputError, match="ddpm"):
        generate(replace(job, solver="ddpm"))


def test_the_input_folder_cannot_be_the_output_folder(job: Job) -> None:
    with pytest.raises(InputError, match="contains the input"):
        generate(replace(job, out=job.mask.parent))
    assert job.mask.is_file()


def test_prepare_writes_the_mask_that_generate_uses(job: Job, tmp_path: Path) -> None:
    generate(job)
    prepare_only(replace(job, out=tmp_path / "prepared"))
    assert names(tmp_path / "prepared") == {"mask.nii.gz", "report.json"}
    ours, theirs = (nib.load(folder / "mask.nii.gz") for folder in (tmp_path / "prepared", job.out))
    np.testing.assert_array_equal(np.asarray(ours.dataobj), np.asarray(theirs.dataobj))
    np.testing.assert_array_equal(ours.affine, theirs.affine)
