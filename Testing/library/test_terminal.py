"""Views: the same events as lines, as a moving bar, as JSON."""

from __future__ import annotations

import io
import json

import pytest
from jsonschema import Draft202012Validator

from SynthCTLib.errors import AmbiguousInputError
from SynthCTLib.events import error_event, event, finding_event, progress_event
from SynthCTLib.findings import Finding
from SynthCTLib.progress import ProgressEvent
from SynthCTLib.resources import resource_path
from SynthCTLib.terminal import JsonView, PlainView, TerminalView, sentences

RESULT = event("result", results=[{"ct": "/o/ct.nii.gz", "summary": ["Synthetic.", "2 of 2."]}])


def denoise(step: int) -> dict:
    return progress_event(ProgressEvent("denoise", step, 100, 7.04 if step else None))


def test_a_log_gets_a_stages_beginning_and_end_and_not_every_step() -> None:
    stream = io.StringIO()
    view = PlainView(stream)
    for step in range(101):
        view.emit(denoise(step))
    assert stream.getvalue().splitlines() == ["Sampling: 0 of 100", "Sampling: 100 of 100, about 7 s left"]


def test_results_go_to_standard_output_and_the_rest_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainView(io.StringIO())
    view.emit(finding_event(Finding("warning", "x", "Odd.", "Look.")))
    view.emit(RESULT)
    assert capsys.readouterr().out.splitlines() == ["Synthetic.", "2 of 2.", "Written: /o/ct.nii.gz"]


def test_a_terminal_shows_stages_findings_and_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    view = TerminalView()
    view.emit(denoise(0))
    view.emit(denoise(100))
    view.emit(finding_event(Finding("warning", "x", "Odd [bold] brackets.", "Look.")))
    view.emit(RESULT)
    view.close()
    output = capsys.readouterr()
    assert "Warning: Odd [bold] brackets. Look." in output.err
    assert "Sampling" in output.err and "100 of 100" in output.err
    assert output.out.splitlines()[-1] == "Written: /o/ct.nii.gz"


def test_machines_get_one_ascii_line_for_each_event() -> None:
    stream = io.StringIO()
    view = JsonView(stream)
    view.emit(denoise(0))
    view.emit(event("warning", message="größer"))
    lines = stream.getvalue().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["progress", "warning"]
    assert stream.getvalue().isascii()


def test_a_choice_that_the_user_has_to_make_travels_with_the_error() -> None:
    error = error_event(AmbiguousInputError("Which one?", "labels", ["maisi", "totalsegmentator"]))
    found = (error["kind"], error["setting"], error["choices"])
    assert found == ("ambiguous", "labels", ["maisi", "totalsegmentator"])
    assert sentences(error) == ["Error: Which one?"]
    schema = json.loads(resource_path("schemas", "event.schema.json").read_text(encoding="utf-8"))
    assert Draft202012Validator(schema).is_valid(error)
    assert not Draft202012Validator(schema).is_valid({key: error[key] for key in error if key != "setting"})
