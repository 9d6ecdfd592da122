"""What users read agrees with what they see: links, names of controls, messages, the example of a script."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path
from xml.etree import ElementTree

import pytest

from Testing.packaging.cmake_lists import MODULE, ROOT

GUIDES = [ROOT / "docs" / name for name in ("tutorial.md", "reference.md", "troubleshooting.md", "manual-checklist.md")]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = [*(ROOT / "SynthCTLib").rglob("*.py"), *MODULE.rglob("*.py")]
BOOTSTRAP_FIRST = "python bootstrap.py demo"


def panel_words() -> set[str]:
    """All texts of the panel: those of the .ui, and those that the module's code sets."""
    root = ElementTree.parse(MODULE / "Resources" / "UI" / "SynthCT.ui").getroot()
    words = {"".join(string.itertext()).strip() for string in root.iter("string")}
    for path in MODULE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "_" and isinstance(node.args[0], ast.Constant):
                words.add(str(node.args[0].value))
    return {word.removesuffix(":") for word in words}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_and_pictures_lead_to_files_that_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text) + re.findall(r'src="([^"]+)"', text)
    local = [target for target in targets if "://" not in target]
    assert not [target for target in local if not (path.parent / target).exists()]


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_what_is_bold_in_a_guide_is_a_word_of_the_panel(path: Path) -> None:
    bold = set(re.findall(r"\*\*([^*]+)\*\*", path.read_text(encoding="utf-8")))
    words = panel_words()
    starts = {word.split(":")[0] for word in words}  # "Student mode: hide names and overlay" is called Student mode
    assert bold and not bold - words - starts


def literals() -> list[str]:
    """Fixed parts of all messages in the code, with the values that are filled in left out."""
    parts: list[str] = []
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                parts.append(re.sub(r"\{\w+(:[^}]*)?\}", "…", node.value))
            elif isinstance(node, ast.JoinedStr):
                values = (str(value.value) if isinstance(value, ast.Constant) else "…" for value in node.values)
                parts.append("".join(values))
    return parts


def test_messages_that_troubleshooting_quotes_are_in_the_code() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    problems = [row.split("|")[1] for row in text.splitlines() if row.startswith("| ")]
    quoted = [message for problem in problems for message in re.findall(r'"([^"]+)"', problem)]
    known = "\n".join(literals())
    missing = [m for m in quoted for part in m.split("…") if part.strip(" ,.:") and part.strip(" ,.:") not in known]
    assert len(quoted) > 20 and not missing


def test_the_example_of_the_tutorial_is_that_of_the_code() -> None:
    tree = ast.parse((MODULE / "SynthCT.py").read_text(encoding="utf-8"))
    (process,) = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "process")
    found = re.search(r"Example::\n\n((?:    .*\n|\n)+)", str(ast.get_docstring(process)))
    assert found is not None
    example = textwrap.dedent(found[1]).strip()
    assert f"```python\n{example}\n```" in (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")


def test_the_two_commands_are_the_first_code_in_the_readme() -> None:
    first = re.findall(r"```\w*\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[0]
    assert BOOTSTRAP_FIRST in first and "python bootstrap.py test" in first
