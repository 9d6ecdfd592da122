"""The reference names every control of the panel, in the right section, with its words and its limits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest

from Testing.packaging.cmake_lists import MODULE, ROOT

CONTROLS = {
    "QPushButton", "QToolButton", "QComboBox", "QSpinBox", "QDoubleSpinBox", "QCheckBox", "QRadioButton", "QSlider",
    "QLineEdit", "QPlainTextEdit", "QTreeWidget", "QTableWidget", "qMRMLNodeComboBox", "qMRMLSegmentEditorWidget",
    "ctkCollapsibleButton", "ctkCollapsibleGroupBox",
}  # fmt: skip
LIMITED = {"QSpinBox", "QDoubleSpinBox"}
SHOWN_BY_ITSELF = {"seedSpinBox"}  # its range is that of whole numbers


def widgets() -> Iterator[ElementTree.Element]:
    root = ElementTree.parse(MODULE / "Resources" / "UI" / "SynthCT.ui").getroot()
    return (widget for widget in root.iter("widget") if widget.get("class") in CONTROLS)


def value(widget: ElementTree.Element, *names: str) -> str:
    """The first of these properties that the widget has, as text."""
    for name in names:
        found = widget.find(f"property[@name='{name}']")
        if found is not None:
            return "".join(found.itertext()).strip()
    return ""


@pytest.fixture(scope="module")
def rows() -> dict[str, str]:
    """Rows of all tables of the reference by the name in their last column."""
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| (.+) \| `(\w+)` \|$", text, re.MULTILINE)
    assert len(found) == len({name for _, name in found}), "a control is described twice"
    return {name: row for row, name in found}


def test_the_reference_describes_every_control_and_no_other(rows: dict[str, str]) -> None:
    names = {widget.get("name") for widget in widgets()}
    assert names - set(rows) == set(), "describe these in docs/reference.md"
    assert set(rows) - names == set(), "these are gone from the panel"


def test_the_reference_uses_the_words_of_the_panel(rows: dict[str, str]) -> None:
    for widget in widgets():
        text = value(widget, "text", "title")
        assert f"**{text}**" in rows[str(widget.get("name"))] or not text


def test_the_reference_tells_the_limits_of_numbers(rows: dict[str, str]) -> None:
    for widget in widgets():
        name = str(widget.get("name"))
        if widget.get("class") in LIMITED and name not in SHOWN_BY_ITSELF:
            low, high = float(value(widget, "minimum")), float(value(widget, "maximum"))
            special = value(widget, "specialValueText")  # stands for the lowest value, which is no number then
            low += float(value(widget, "singleStep") or 1) if special else 0
            assert f"{low:g} to {high:g}" in rows[name] and special in rows[name], name


def test_the_reference_has_the_sections_of_the_panel_in_its_order() -> None:
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    panel = [value(widget, "text") for widget in widgets() if widget.get("class") == "ctkCollapsibleButton"]
    assert sections == ["Top", *panel]


def test_the_file_named_for_a_control_handles_it() -> None:
    """Controls that are bound to the parameter node need no code; sections and groups only open and close."""
    plain = {
        str(widget.get("name"))
        for widget in widgets()
        if not value(widget, "SlicerParameterName") and not str(widget.get("class")).startswith("ctkCollapsible")
    }
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    files: list[str] = []
    for section in re.split(r"^#{2,3} ", text, flags=re.MULTILINE)[1:]:
        found = re.search(r"^In the code: (.+)$", section, re.MULTILINE)
        files = re.findall(r"`(.+?)`", found[1]) if found else files  # a subsection without a line of its own
        code = "".join((MODULE / "SynthCTModule" / name).read_text(encoding="utf-8") for name in files)
        for name in set(re.findall(r"\| `(\w+)` \|$", section, re.MULTILINE)) & plain:
            assert name in code or any(re.fullmatch(pattern, name) for pattern in composed_names(code)), name


def composed_names(code: str) -> list[str]:
    """Patterns of the names that the code composes, such as ``f"{name}ComboBox"``."""
    return [re.sub(r"\{\w+\}", r"\\w+", text) for text in re.findall(r'f"(\w*\{\w+\}[A-Z]\w+)"', code)]


def test_files_that_the_reference_names_exist() -> None:
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    named = {
        name for line in re.findall(r"^In the code: (.+)$", text, re.MULTILINE) for name in re.findall(r"`(.+?)`", line)
    }
    assert len(named) > 10
    assert not [name for name in sorted(named) if not (MODULE / "SynthCTModule" / name).is_file()]
