"""The sentences in the engine's source: what findings and errors are made of, with a mark in each place to fill in."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ERRORS = {"InputError", "AmbiguousInputError", "ModelError", "ResourceError"}
FINDINGS = {"Finding": 2, "_error": 1}
"""What makes a finding, and where its message stands; the advice follows."""


def finding_sentences(path: Path) -> Iterator[str]:
    """Messages and advice of all findings that a file makes."""
    for call, function in _calls(path):
        start = FINDINGS.get(_name(call))
        if start is not None:
            for argument in call.args[start : start + 2]:
                yield from _texts(argument, function)


def error_sentences(path: Path) -> Iterator[str]:
    """Sentences of all errors that a file raises."""
    for call, function in _calls(path):
        if _name(call) in ERRORS and call.args:
            yield from _texts(call.args[0], function)


def _calls(path: Path) -> Iterator[tuple[ast.Call, ast.AST]]:
    """Calls with the innermost function that they are in."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            around = [f for f in functions if f.lineno <= node.lineno <= (f.end_lineno or 0)]
            yield node, max(around, key=lambda function: function.lineno, default=tree)


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _texts(node: ast.expr, function: ast.AST) -> Iterator[str]:
    """The texts that an expression may be; none for what is not written there, as the text of another error."""
    if isinstance(node, ast.Constant | ast.JoinedStr):
        text = _sample(node, function)
        if any(map(str.isalpha, text)):
            yield text
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body, function)
        yield from _texts(node.orelse, function)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        yield from (text.replace("{}", "⟨⟩") for text in _texts(node.func.value, function))
    elif isinstance(node, ast.Name):
        for value in _assigned(node.id, function):
            yield from _texts(value, function)


def _sample(node: ast.expr, function: ast.AST) -> str:
    """The text with a mark for each value; a value that is itself a text of this function is put in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    parts = []
    for part in node.values if isinstance(node, ast.JoinedStr) else ():
        inner = part.value if isinstance(part, ast.FormattedValue) else part
        texts = _assigned(inner.id, function) if isinstance(inner, ast.Name) else [inner]
        text = next((value for value in texts if isinstance(value, ast.Constant | ast.JoinedStr)), None)
        parts.append("⟨⟩" if text is None else _sample(text, ast.Pass()))
    return "".join(parts)


def _assigned(name: str, function: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            yield node.value
