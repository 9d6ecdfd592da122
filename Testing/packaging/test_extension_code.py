"""What the Extensions Index asks of the code: nothing happens at file scope, nothing heavy is imported there."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from Testing.packaging.cmake_lists import MODULE, ROOT, files_on_disk

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ALLOWED = {*sys.stdlib_module_names, "slicer", "vtk", "qt", "ctk", "SimpleITK", "numpy", "scipy", "SynthCTModule"}
# Calls that make constants; so do the constructors of classes that the file itself defines or imports from the module.
CONSTRUCTORS = {"frozenset", "tuple", "MappingProxyType", "compile", "getLogger", "Path", "slice", "fromkeys"}
FILES = sorted(path for name in files_on_disk(MODULE) if (path := MODULE / name).suffix == ".py")
SHIPPED_BY_SLICER = {"numpy", "scipy"}


def file_scope(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when the file is imported, those in ``try`` included, ``if TYPE_CHECKING`` left out."""
    for node in body:
        if isinstance(node, ast.Try):
            for part in (node.body, *(handler.body for handler in node.handlers), node.orelse, node.finalbody):
                yield from file_scope(part)
        elif not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            yield node


def imported(node: ast.stmt) -> list[str]:
    """Top-level names of the packages that an import statement loads; relative imports are our own."""
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return [node.module.split(".")[0]]
    return []


def called(node: ast.Call) -> str:
    """Last part of the name of what is called."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)


def is_declaration(node: ast.stmt, known: set[str]) -> bool:
    """Whether the statement only declares something: import, function, class, docstring or constant."""
    if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.Pass):
        return True
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Assign | ast.AnnAssign):
        value = node.value or ast.Constant(None)
        return all(called(part) in known for part in ast.walk(value) if isinstance(part, ast.Call))
    return False


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_only_what_slicer_ships_is_imported_at_file_scope(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    foreign = {name for node in file_scope(tree.body) for name in imported(node)} - ALLOWED
    assert not foreign, f"import {sorted(foreign)} inside the functions that need them"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_happens_at_file_scope(path: Path) -> None:
    statements = list(file_scope(ast.parse(path.read_text(encoding="utf-8")).body))
    classes = {node.name for node in statements if isinstance(node, ast.ClassDef)}
    classes |= {
        alias.name
        for node in statements
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("SynthCTModule"))
        for alias in node.names
        if alias.name[:1].isupper()
    }
    work = [ast.unparse(node) for node in statements if not is_declaration(node, CONSTRUCTORS | classes)]
    assert not work


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_pytorch_is_left_to_its_extension(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and called(node) in {"pip_install", "pip_ensure"}:
            assert not re.search(r"\b(py)?torch\b", ast.unparse(node))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_syntax_is_that_of_the_oldest_python_in_the_tests(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10))


def test_requirements_are_those_of_the_engine_without_pytorch_and_without_pins() -> None:
    lines = (MODULE / "Resources" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    required = {line.strip() for line in lines if line.strip() and not line.startswith("#")}
    assert not any("==" in line for line in required)
    with (ROOT / "pyproject.toml").open("rb") as file:
        engine = set(tomllib.load(file)["project"]["dependencies"])
    missing = {re.split(r"[^A-Za-z0-9-]", line)[0] for line in engine - required}
    assert required <= engine and missing - SHIPPED_BY_SLICER == {"torch"}
