"""Sentences of the engine are found in the module's lists, so that they can be shown in another language."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from SynthCTModule import EngineText, LabelNames
from Testing.module.engine_sentences import ROOT, error_sentences, finding_sentences

ENGINE = ROOT / "SynthCTLib"
FILES = sorted(ENGINE.rglob("*.py"))
SHOWN_ERRORS = [
    *("body", "cards", "case_bundle", "cases", "checkpoint", "decoder", "device", "download", "grid", "growth"),
    *("label_file", "labels", "lesion", "loading", "mask", "measures", "model_files", "model_import", "output"),
    *("quiz", "quiz_export", "reading", "reading_folder", "reading_nifti", "reading_nrrd", "reading_segments"),
    *("reading_values", "regions", "resources", "runner", "schemes", "store", "transfer"),
]
"""Files whose errors users of the module can bring about by what they load, draw, choose or lack."""


def turned_around(text: str) -> str:
    """A stand-in for a translation: other words, the same places."""
    return f"»{text}«"


@pytest.fixture
def translated(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Slicer in another language."""
    caches = (EngineText._sentences, LabelNames.labelNames)
    monkeypatch.setattr(EngineText, "_", turned_around)
    monkeypatch.setattr(LabelNames, "_", turned_around)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.mark.usefixtures("translated")
def test_every_finding_of_the_engine_can_be_translated() -> None:
    sentences = [text for path in FILES for text in finding_sentences(path)]
    assert len(sentences) > 50
    missing = [text for text in sentences if EngineText.engineText(text) == text]
    assert not missing, "add these sentences to EngineFindings.findingTexts"


@pytest.mark.usefixtures("translated")
def test_every_error_that_users_may_see_can_be_translated() -> None:
    shown = [path for path in FILES if path.stem in SHOWN_ERRORS]
    assert len(shown) == len(SHOWN_ERRORS)
    missing = [text for path in shown for text in error_sentences(path) if EngineText.engineText(text) == text]
    assert not missing, "add these sentences to EngineErrors"


def test_no_sentence_is_listed_that_the_engine_does_not_say() -> None:
    """One that is still there although the engine says it otherwise would mislead translators."""
    said = [
        text for path in sorted(ENGINE.rglob("*.py")) for text in (*finding_sentences(path), *error_sentences(path))
    ]
    lists = [texts for texts in EngineText._LISTS if texts.__name__ not in ("resultTexts", "wordTexts")]
    patterns = {text: EngineText._pattern(text) for texts in lists for text in texts(str)}
    assert [text for text, pattern in patterns.items() if not any(map(pattern.fullmatch, said))] == []


@pytest.mark.usefixtures("translated")
def test_a_real_finding_keeps_its_values_and_gets_the_names_of_its_labels_translated() -> None:
    from SynthCTLib.anatomy import label_places
    from SynthCTLib.checks import _tiny
    from SynthCTLib.volume import Volume

    array = np.zeros((8, 8, 8), np.uint8)
    array[1, 1, 1], array[5, 5, 5] = 1, 17
    finding = _tiny(label_places(Volume(array, np.eye(4))))[0]
    text = EngineText.findingText(finding.to_json())
    assert text == (
        "»»Liver«, »Portal and splenic vein«: fewer than 7 voxels on the model's grid, hardly visible in the CT.«"
    )


@pytest.mark.usefixtures("translated")
def test_notes_of_a_mirrored_anatomy_are_translated() -> None:
    from SynthCTLib.mirror import mirror_left_right, unpaired_ids

    notes = mirror_left_right(np.array([[unpaired_ids()]], np.uint8)).notes
    assert notes
    assert all(EngineText.engineText(note).startswith("»»") for note in notes)


@pytest.mark.usefixtures("translated")
def test_verdicts_of_the_organ_check_are_translated() -> None:
    from SynthCTLib.labels import load_vocabulary
    from SynthCTLib.organ_check import check_organs

    labels = np.repeat(np.array([1, 3, 5, 115, 250], np.uint8), 1000).reshape(5, 10, 100)
    labels[0, 0, 0] = 4
    hu = np.repeat(np.array([60, -900, 900, 40, 0], np.int16), 1000).reshape(5, 10, 100)
    results = check_organs(hu, labels, load_vocabulary())
    assert {result.verdict for result in results} == {"ok", "low", "high", "too small", "no range"}
    assert all(EngineText.engineText(result.sentence).startswith("»") for result in results)


@pytest.mark.usefixtures("translated")
def test_a_fault_of_the_program_is_told_in_the_users_language_too() -> None:
    from SynthCTLib.events import internal_error_event

    for log in (None, Path("x.log")):
        event = internal_error_event(KeyError("x"), log)
        assert EngineText.engineText(event["message"]) == "»Unexpected KeyError: 'x'«"
        assert EngineText.engineText(event["advice"]).startswith("»")


@pytest.mark.usefixtures("translated")
def test_a_name_of_the_users_own_stays_although_a_label_is_called_so() -> None:
    text = "'Liver' is marked as Spleen and was read as that, although it is named Stomach."
    assert EngineText.engineText(text) == (
        "»'Liver' is marked as »Spleen« and was read as that, although it is named »Stomach«.«"
    )


@pytest.mark.usefixtures("translated")
def test_files_and_segments_without_quotes_keep_their_names_too() -> None:
    joined = EngineText.engineText("The segments Liver, Spleen were joined as Liver.")
    assert joined == "»The segments Liver, Spleen were joined as »Liver«.«"
    assert EngineText.engineText("Liver names its labels itself; the names were used.").startswith("»Liver names")


def test_an_english_slicer_says_what_the_engine_says() -> None:
    assert EngineText.engineText("The mask has no labels.") == "The mask has no labels."
    assert EngineText.findingText({"message": "One.", "advice": ""}) == "One."


@pytest.mark.usefixtures("translated")
def test_what_is_not_known_stays_as_it_is() -> None:
    assert EngineText.engineText("A sentence of another program.") == "A sentence of another program."


def test_every_label_has_its_name_among_the_translations() -> None:
    from SynthCTLib.labels import load_vocabulary

    assert list(LabelNames.labelNames()) == [
        label.display_name for label in load_vocabulary().labels if not label.dummy
    ]


def test_structures_are_found_by_their_translated_and_by_their_english_names(monkeypatch: pytest.MonkeyPatch) -> None:
    german = {
        "Left kidney": "Linke Niere",
        "Right adrenal gland": "Rechte Nebenniere",
        "Spleen": "Milz",
        "Liver": "肝臓",
    }
    monkeypatch.setattr(LabelNames, "labelNames", lambda: german)

    def found(text: str) -> list[str]:
        return [label.display_name for label in LabelNames.searchLabels(text)]

    assert found("milz") == found("spleen") == ["Spleen"]
    assert set(found("niere")) == {"Left kidney", "Right adrenal gland"}
    assert found("niere linke") == ["Left kidney"]
    assert found("臓") == ["Liver"] and "Liver" in found("liver")
    assert len(found("")) == len(LabelNames.searchLabels("")) > 120
    assert found("no such") == []
