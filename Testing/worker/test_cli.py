"""The command ``synthct`` as a user sees it: texts, JSON, exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from SynthCTLib import pipeline
from SynthCTLib.cards import PARTS
from SynthCTLib.cli import main
from SynthCTLib.cli.main import build_parser
from Testing.library.model_samples import tiny_card, write_released

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models folder, so that no test sees or touches the user's."""
    store = tmp_path / "models"
    monkeypatch.setenv("SYNTHCT_MODELS", str(store))
    return store


@pytest.fixture
def arguments(tiny_model: Path, phantom: Path, tmp_path: Path) -> list[str]:
    options = ["--out", str(tmp_path / "out"), "--model", str(tiny_model), "--labels", "maisi", "--device", "cpu"]
    return ["generate", str(phantom), *options]


def last_event(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_generate_says_where_the_ct_is_and_that_it_is_synthetic(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--seed", "3"]) == 0
    output = capsys.readouterr()
    assert f"Written: {tmp_path / 'out' / 'ct.nii.gz'}" in output.out
    assert "Synthetic, not a patient, not for clinical use" in output.out
    assert "Sampling: 2 of 2" in output.err
    assert (tmp_path / "out" / "preview.png").is_file()


def test_generate_with_json_prints_events_only(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--seed", "3", "--json"]) == 0
    output = capsys.readouterr()
    events = [json.loads(line) for line in output.out.splitlines()]
    assert {event["schema"] for event in events} == {1}
    assert [events[0]["event"], events[-1]["event"]] == ["started", "result"]
    assert output.err == ""


def test_every_option_of_generate_reaches_the_job(
    arguments: list[str], phantom: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = []
    monkeypatch.setattr(pipeline, "generate", lambda job, *_: jobs.append(job) or pipeline.Result([]))
    label_map = phantom.parent / "map.json"
    label_map.write_text("{}", encoding="utf-8")
    options = {
        "region": "chest", "labels": str(label_map), "ct": str(phantom), "size": "128x128x96", "spacing": "3×3×4.5",
        "steps": "12", "solver": "euler-exact", "guidance": "2.5", "seed": "9", "device": "cuda:1", "grid": "input",
        "retries": "3", "count": "4", "preset": "best", "temperature": "0.8",
    }  # fmt: skip
    assert main([*arguments, *(text for key, value in options.items() for text in (f"--{key}", value))]) == 0
    (job,) = jobs
    assert (job.size, job.spacing) == ((128, 128, 96), (3.0, 3.0, 4.5))
    assert (job.steps, job.solver, job.guidance, job.seed) == (12, "euler-exact", 2.5, 9)
    assert (job.preset, job.temperature) == ("best", 0.8)
    assert (job.device, job.grid, job.retries, job.count) == ("cuda:1", "input", 3, 4)
    assert (job.region, job.label_map(), job.ct) == ("chest", label_map, phantom)


def test_the_readme_names_every_option_of_generate() -> None:
    command = build_parser()._subparsers._group_actions[0].choices["generate"]  # type: ignore[union-attr, index]
    options = {text for action in command._actions for text in action.option_strings if text.startswith("--")}
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("| option |")[1].split("\n\n")[0]
    assert set(re.findall(r"--[a-z][a-z-]+", section)) == options - {"--help"}


@pytest.mark.parametrize(
    ("extra", "code", "words"),
    [
        (["--steps", "0"], 2, "steps"),
        (["--labels", "nonsense"], 2, "nonsense"),
        (["--device", "abacus"], 2, "abacus"),
        (["--region", "tail"], 2, "tail"),
        (["--model", "no-such-model"], 3, "no-such-model"),
        (["--model", "nv-generate-ct-rflow"], 3, "import"),
    ],
)
def test_a_failure_is_one_sentence_and_an_exit_code(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: list[str], code: int, words: str
) -> None:
    assert main([*arguments, *extra]) == code
    errors = capsys.readouterr().err
    last = errors.splitlines()[-1]
    assert last.startswith("Error: ") and words in last and "Traceback" not in errors
    assert not (tmp_path / "out").exists()


def test_a_missing_mask_is_named_with_the_bundled_cases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", str(tmp_path / "none.nii.gz"), "--out", str(tmp_path / "out")]) == 2
    errors = capsys.readouterr().err
    assert "none.nii.gz" in errors and "totalseg_s0327_chest" in errors


def test_a_bundled_case_can_be_named_by_its_id(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = ["--out", str(out), "--model", str(tiny_model), "--labels", "maisi", "--json"]
    assert main(["prepare", "totalseg_s0327_chest", *options]) == 0
    assert {path.name for path in out.iterdir()} == {"mask.nii.gz", "report.json"}
    assert last_event(capsys)["results"][0]["mask"] == str(out / "mask.nii.gz")


def test_an_unexpected_failure_names_its_log_and_leaves_nothing(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("no way")

    monkeypatch.setattr(pipeline, "latent_to_image", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main([*arguments, "--json"]) == 70
    event = last_event(capsys)
    assert (event["event"], event["kind"]) == ("error", "internal") and "ZeroDivisionError" in event["message"]
    (log,) = tmp_path.glob("synthct-error-*.log")
    assert str(log) in event["advice"] and "broken" in log.read_text(encoding="utf-8")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".synthct*"))
    with pytest.raises(ZeroDivisionError):
        main([*arguments, "--debug"])


def test_control_c_ends_with_130_and_leaves_nothing(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pipeline, "latent_to_image", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    # A shell starts what runs in the background with Control-C ignored, and so may be these tests.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main(arguments) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert "nothing was written" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".synthct*"))


def test_labels_are_found_by_prefix_id_and_in_spite_of_a_typo(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["labels", "hepatic", "--json"]) == 0
    assert {label["id"] for label in last_event(capsys)["labels"]} >= {25, 26}
    assert main(["labels", "115", "--json"]) == 0
    assert [label["name"] for label in last_event(capsys)["labels"]] == ["heart"]
    assert main(["labels", "livr"]) == 2
    assert "Liver" in capsys.readouterr().err


def test_all_labels_in_use_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["labels", "--json"]) == 0
    labels = last_event(capsys)["labels"]
    assert [label["id"] for label in labels] == sorted(label["id"] for label in labels)
    assert {1, 132, 200} <= {label["id"] for label in labels} and not {2, 16} & {label["id"] for label in labels}


def test_cases_have_a_file_a_licence_and_a_citation(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cases", "--json"]) == 0
    cases = last_event(capsys)["cases"]
    assert cases
    for case in cases:
        assert Path(case["path"]).is_file() and case["licence"]["name"] and case["citation"]
    assert main(["cases"]) == 0
    assert "CC BY 4.0" in capsys.readouterr().out


def test_doctor_says_what_is_there_and_what_will_work(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    checks = {check["name"]: check for check in last_event(capsys)["checks"]}
    assert {"python", "torch", "monai", "device", "memory", "models folder", "cases", "verdict"} <= checks.keys()
    assert checks["model nv-generate-ct-rflow"]["state"] == "absent"
    assert "import" in checks["model nv-generate-ct-rflow"]["text"]


def test_one_invalid_card_in_the_store_ends_neither_the_list_of_models_nor_doctor(
    empty_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_card(empty_store / "tiny")
    (empty_store / "broken").mkdir()
    (empty_store / "broken" / "card.json").write_text("{", encoding="utf-8")
    assert main(["models", "list", "--json"]) == 0
    warning, models = map(json.loads, capsys.readouterr().out.splitlines()[-2:])
    assert warning["severity"] == "warning" and str(empty_store / "broken") in warning["message"]
    assert "tiny" in {model["id"] for model in models["models"]}
    assert main(["doctor", "--json"]) == 0
    checks = {check["name"]: check for check in last_event(capsys)["checks"]}
    assert checks["model broken"]["state"] == "problem" and "no valid JSON" in checks["model broken"]["text"]
    assert "generate works with" in checks["verdict"]["text"]


def test_models_go_in_are_checked_and_go_out_again(
    tmp_path: Path, empty_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = tiny_card(empty_store / "tiny")
    files = write_released(card, tmp_path / "released")
    assert main(["models", "import", "--card", "tiny", "--half", *map(str, files.values())]) == 0
    assert "tiny is ready" in capsys.readouterr().out
    assert main(["models", "list", "--json"]) == 0
    states = {model["id"]: model["status"] for model in last_event(capsys)["models"]}
    assert states["tiny"] == "ready" and states["nv-generate-ct-ddpm"] == "missing"
    assert main(["models", "show", "tiny"]) == 0
    assert card.licence["name"] in capsys.readouterr().out
    assert main(["models", "verify", "tiny"]) == 0
    weights = empty_store / "tiny" / "unet.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert main(["models", "verify", "tiny"]) == 3
    assert "unet.safetensors" in capsys.readouterr().err
    assert main(["models", "remove", "tiny"]) == 0
    assert not any((empty_store / "tiny" / f"{part}.safetensors").exists() for part in PARTS)


def test_the_measured_quality_of_a_model_is_shown_in_lines(
    empty_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lung = {"mean": 0.97123, "n": 4}
    quality = {"steps": 30, "dice_with_mask": {"real": {"lung": lung}}, "cases": ["a", "b", "c", "d"], "hu": [-5.25, 3]}
    tiny_card(empty_store / "tiny", quality=quality)
    assert main(["models", "show", "tiny"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("Measured quality:")
    assert lines[start + 1 : start + 7] == [
        "  steps: 30",
        "  dice with mask:",
        "    real:",
        "      lung: mean: 0.9712, n: 4",
        "  cases: a, b, c, d",
        "  hu: -5.25/3",
    ]


def test_a_model_without_measurements_shows_none(empty_store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_card(empty_store / "tiny", quality={})
    assert main(["models", "show", "tiny"]) == 0
    assert "quality" not in capsys.readouterr().out


def test_a_download_without_an_accepted_licence_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "download", "nv-generate-ct-rflow"]) == 3
    assert "NVIDIA Open Model License" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_failure() -> None:
    if os.name == "nt":
        pytest.skip("no pipes of this kind")
    command = f"'{sys.executable}' -m SynthCTLib labels | head -n 1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert "liver" in done.stdout and done.stderr == ""
