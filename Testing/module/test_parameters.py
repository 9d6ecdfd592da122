"""Settings of a run: every reason why they cannot be used, and the job that is made of them."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from SynthCTLib.job import DEFAULT_MODEL, job_from_json
from SynthCTModule import Parameters
from SynthCTModule.Cards import findCard, shippedCards
from SynthCTModule.Parameters import RunParameters, parametersFromJson, sizesInWords

RFLOW, DDPM = "nv-generate-ct-rflow", "nv-generate-ct-ddpm"


def test_defaults_are_valid_for_every_shipped_model() -> None:
    for card in shippedCards():
        assert RunParameters(card.id).isValid() == (True, [])


def test_the_default_model_is_that_of_the_engine() -> None:
    assert Parameters.DEFAULT_MODEL == DEFAULT_MODEL == shippedCards()[0].id


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "no such"}, "There is no model 'no such'"),
        ({"size": (130, 128, 96)}, "130 (left-right) is not allowed by the model; choose 48, 64, 80, …, 192"),
        ({"model": RFLOW, "size": (512, 512, 100)}, "choose 128, 256, 384, 512, 640, 768"),
        ({"model": RFLOW, "size": (512, 256, 128)}, "square slices"),
        ({"model": RFLOW, "spacing": (1.0, 1.5, 2.0)}, "square voxels"),
        ({"spacing": (0.0, 1.0, 1.0)}, "above 0 mm"),
        ({"spacing": (float("nan"), 1.0, 1.0)}, "above 0 mm"),
        ({"region": "left knee"}, "left knee"),
        ({"preset": "ultra"}, "no quality 'ultra'; choose draft, standard, best"),
        ({"model": DDPM, "preset": "draft"}, "choose steps and solver yourself"),
        ({"steps": 0}, "from 1 to 1000"),
        ({"solver": "magic"}, "no solver 'magic'"),
        ({"solver": "ddpm"}, "does not fit the model"),
        ({"model": DDPM, "solver": "euler"}, "does not fit the model"),
        ({"guidance": -1.0}, "guidance"),
        ({"temperature": 2.5}, "temperature"),
        ({"seed": 2**32}, "4294967295"),
        ({"count": 0}, "number of CTs"),
        ({"retries": 101}, "retries"),
        ({"device": "gpu"}, "no device 'gpu'"),
        ({"grid": "other"}, "grid of the result"),
    ],
)
def test_what_cannot_be_used_is_told_in_a_sentence(settings: dict[str, Any], said: str) -> None:
    valid, reasons = RunParameters(**settings).isValid()
    assert not valid and len(reasons) == 1
    assert said in reasons[0] and reasons[0].endswith(".")


def test_all_reasons_are_told_at_once() -> None:
    _, reasons = RunParameters(steps=0, count=0, device="gpu").isValid()
    assert len(reasons) == 3


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1", "mps"])
def test_devices_of_the_engine_are_allowed(device: str) -> None:
    assert RunParameters(device=device).isValid()[0]


def test_the_job_is_one_that_the_worker_accepts_and_says_what_was_set(tmp_path: Path) -> None:
    mask, out = tmp_path / "Maske für Anna.nrrd", tmp_path / "result"
    parameters = RunParameters(region="chest", size=(128, 128, 96), spacing=(3.0, 3.0, 4.0), steps=7, seed=5, count=2)
    job = job_from_json(json.loads(json.dumps(parameters.toJob(mask, out, "maisi"))))
    assert (job.mask, job.out, job.labels, job.region) == (mask, out, "maisi", "chest")
    assert (job.size, job.spacing, job.steps, job.seed, job.count) == ((128, 128, 96), (3.0, 3.0, 4.0), 7, 5, 2)
    assert job.solver is None and job.preset is None, "what is not set is left to the card"
    assert job.parent_pid == os.getpid() and not job.stop_with_stdin


def test_settings_of_a_report_become_parameters_again() -> None:
    parameters = RunParameters(region="chest", size=(128, 128, 96), steps=7, seed=5, guidance=0.5)
    job = parameters.toJob(Path("m"), Path("o"), None)
    assert parametersFromJson(json.loads(json.dumps(job))) == parameters


def test_sampling_is_resolved_as_the_engine_does_it() -> None:
    from SynthCTLib.job import Job
    from SynthCTLib.pipeline import resolve_settings

    for card in shippedCards():
        for preset in (None, *card.presets):
            for own in ({}, {"steps": 3}, {"guidance": 2.0, "temperature": 0.5}):
                job = Job(Path("m"), Path("o"), model=card.id, preset=preset, **own)
                mine = RunParameters(card.id, preset=preset, **own).sampling(card)
                assert {name: mine[name] for name in resolve_settings(job, card)} == resolve_settings(job, card)


def test_a_users_own_card_is_found_in_the_models_folder_and_nowhere_above_it(tmp_path: Path) -> None:
    card = shippedCards()[0].to_json() | {"id": "own"}
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "card.json").write_text(json.dumps(card), encoding="utf-8")
    assert RunParameters("own", modelsFolder=tmp_path).isValid()[0]
    assert not RunParameters("own").isValid()[0]
    assert findCard("../own", tmp_path / "deeper") is None
    (tmp_path / "own" / "card.json").write_text("{}", encoding="utf-8")
    assert findCard("own", tmp_path) is None


def test_few_sizes_are_all_named() -> None:
    assert sizesInWords((256, 384, 512)) == "256, 384, 512"


def test_a_model_without_segmentation_has_a_job_without_mask_and_refuses_what_belongs_to_one(tmp_path: Path) -> None:
    card = shippedCards()[0].to_json() | {"id": "own", "family": "medical-diffusion"}
    card["defaults"] = {**card["defaults"], "solver": "ddim"}
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "card.json").write_text(json.dumps(card), encoding="utf-8")
    parameters = RunParameters("own", modelsFolder=tmp_path, seed=3, count=2)
    assert not parameters.takesMask() and parameters.isValid() == (True, [])
    job = job_from_json(parameters.toJob(None, tmp_path / "out", None))
    assert (job.mask, job.labels, job.seed, job.count) == (None, None, 3, 2)
    own = replace(parameters, region="chest", spacing=(1.0, 1.0, 1.0), grid="input", guidance=2.0)
    assert own.isValid()[1] == [
        "The model own takes no segmentation; leave out: region, spacing, guidance, grid.",
    ]
    assert own.withoutMask() == parameters
    assert replace(parameters, guidance=0.0).isValid()[0], "0 is none, as the model has it"
