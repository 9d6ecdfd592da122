"""Rules for the panel that a machine can check: names in the .ui and in the code fit, texts can be translated."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "SynthCT"
UI = ElementTree.parse(MODULE / "Resources" / "UI" / "SynthCT.ui")
SOURCES = [MODULE / "SynthCT.py", *sorted((MODULE / "SynthCTModule").rglob("*.py"))]
CONTROLS = {
    "QPushButton",
    "QComboBox",
    "QSpinBox",
    "QDoubleSpinBox",
    "QCheckBox",
    "QLineEdit",
    "QTreeWidget",
    "QTableWidget",
    "QPlainTextEdit",
    "QProgressBar",
    "qMRMLNodeComboBox",
    "qMRMLSegmentEditorWidget",
}


def widgets() -> Iterator[ElementTree.Element]:
    """All widgets of the .ui."""
    return UI.iter("widget")


def parameter_of(widget: ElementTree.Element) -> str | None:
    """The field of the parameter node that a widget is bound to."""
    entry = next((one for one in widget.findall("property") if one.get("name") == "SlicerParameterName"), None)
    return None if entry is None else entry.findtext("string")


def has_property(widget: ElementTree.Element, name: str) -> bool:
    return any(entry.get("name") == name for entry in widget.findall("property"))


def parameter_fields() -> set[str]:
    """The fields of SynthCTParameterNode, read from the source."""
    tree = ast.parse((MODULE / "SynthCT.py").read_text(encoding="utf-8"))
    node = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "SynthCTParameterNode")
    return {n.target.id for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}


def used_names() -> set[str]:
    """Widgets that the code names: ``ui.x`` and ``self.ui.x``; names put together count for each of their values."""
    names: set[str] = set()
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        names |= set(re.findall(r"\bui\.(\w+)", text))
        names |= set(re.findall(r'"(\w+Button)"', text))
    names |= {f"window{name}Button" for name in ("Lung", "SoftTissue", "Bone", "Brain")}
    return names | {f"size{axis}ComboBox" for axis in "XYZ"}


def test_every_parameter_name_of_the_ui_is_a_field_of_the_parameter_node() -> None:
    bound = {name for widget in widgets() if (name := parameter_of(widget))}
    assert len(bound) > 15
    assert bound <= parameter_fields()


def test_no_field_of_the_parameter_node_is_forgotten() -> None:
    bound = {name for widget in widgets() if (name := parameter_of(widget))}
    text = "".join(path.read_text(encoding="utf-8") for path in SOURCES[1:])
    assert {name for name in parameter_fields() - bound if f".{name}" not in text} - {"sizeX", "sizeY"} == set()


def test_every_widget_that_the_code_names_is_in_the_ui() -> None:
    existing = {widget.get("name") for widget in widgets()}
    assert {name for name in used_names() if name.endswith(("Button", "Label", "Box", "Table"))} <= existing


def test_every_control_of_the_ui_is_used() -> None:
    unbound = (widget for widget in widgets() if not parameter_of(widget))
    controls = {widget.get("name") for widget in unbound if widget.get("class") in CONTROLS}
    assert controls - used_names() == set()


def test_every_control_of_the_ui_has_a_tooltip() -> None:
    shown = CONTROLS - {"QProgressBar", "QPlainTextEdit", "qMRMLSegmentEditorWidget"}
    without = [w.get("name") for w in widgets() if w.get("class") in shown and not has_property(w, "toolTip")]
    assert without == []


def test_names_in_the_ui_are_unique() -> None:
    names = [element.get("name") for kind in ("widget", "layout", "spacer") for element in UI.iter(kind)]
    assert len(names) == len(set(names))


def test_sections_are_in_the_order_of_the_work() -> None:
    titles = [
        next(p.findtext("string") for p in widget.findall("property") if p.get("name") == "text")
        for widget in widgets()
        if widget.get("class") == "ctkCollapsibleButton"
    ]
    assert titles == ["Setup", "Region and grid", "Anatomy", "Model", "Generate", "Result", "Teaching"]


def test_the_tab_key_goes_through_all_controls_from_top_to_bottom() -> None:
    stops = [stop.text for stop in UI.iter("tabstop")]
    order = [w.get("name") for w in widgets() if w.get("name") in stops]
    assert stops == order
    reached = {
        w.get("name") for w in widgets() if w.get("class") in CONTROLS - {"QProgressBar", "qMRMLSegmentEditorWidget"}
    }
    assert reached == set(stops)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_texts_to_translate_are_plain_strings(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
            assert isinstance(node.args[0], ast.Constant), f"{path.name}:{node.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_file_of_the_module_is_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 350


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_module_code_has_no_idiom_that_only_pyside_knows(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "PySide" not in text
    scoped = re.findall(r"\bqt\.\w+\.[A-Z]\w+\.[A-Z]\w+", text)  # PythonQt has enum values at the class
    assert scoped == []
