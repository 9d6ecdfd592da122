"""What a case file says that was saved from the panel."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_an_own_drawing_gets_no_licence_that_its_author_has_not_chosen(chest: Any, tmp_path: Path) -> None:
    from SynthCTLib.case_bundle import read_case_bundle
    from SynthCTModule.Cases import CASE_ATTRIBUTE, saveCaseFile

    chest.RemoveAttribute(CASE_ATTRIBUTE)
    case = read_case_bundle(saveCaseFile(chest, tmp_path / "Mine.synthct-case", {"seed": 1}), tmp_path)
    assert case.licence["name"].startswith("Not stated") and case.licence["url"] == ""


def test_a_copy_of_a_bundled_case_keeps_its_licence(chest: Any, tmp_path: Path) -> None:
    from SynthCTLib.case_bundle import read_case_bundle
    from SynthCTModule.Cases import caseOf, saveCaseFile

    origin = caseOf(chest)
    case = read_case_bundle(saveCaseFile(chest, tmp_path / "Copy.synthct-case", {"seed": 1}), tmp_path)
    assert origin is not None and case.licence == origin.licence
