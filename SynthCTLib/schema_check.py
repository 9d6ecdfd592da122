"""Checks data against a JSON schema with the standard library alone: 3D Slicer's Python has no jsonschema.

It knows the keywords that the schemas of cases use and refuses any other, so that no rule is passed over in silence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_ANNOTATIONS = {"$schema", "$defs", "title", "description"}
_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
}


def schema_problem(data: Any, schema: Mapping[str, Any]) -> str | None:
    """The first rule of the schema that ``data`` breaks, as a sentence that names the field; None when there is none.

    ``schema``: a JSON schema (draft 2020-12). Raises ValueError for a keyword that is not known here.
    """
    return _check(data, schema, schema, "")


def _check(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], where: str) -> str | None:
    for keyword, rule in schema.items():
        if keyword in _ANNOTATIONS or keyword in ("then", "additionalProperties"):
            continue
        if keyword in _NESTED:
            problem = _NESTED[keyword](value, schema, root, where)
        elif keyword in _SIMPLE:
            problem = _SIMPLE[keyword](value, rule)
            problem = problem and f"'{where or 'case'}' {problem}."
        else:
            raise ValueError(f"The schema keyword '{keyword}' is not known.")
        if problem:
            return problem
    return None


def _reference(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], where: str) -> str | None:
    target: Any = root
    for part in schema["$ref"].removeprefix("#/").split("/"):
        target = target[part]
    return _check(value, target, root, where)


def _properties(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], where: str) -> str | None:
    if not isinstance(value, dict):
        return None
    known = schema["properties"]
    if schema.get("additionalProperties") is False:
        unknown = [str(key) for key in value if key not in known]
        if unknown:
            return f"'{_inside(where, unknown[0])}' is not a known field."
    for key in value:
        if key in known:
            problem = _check(value[key], known[key], root, _inside(where, key))
            if problem:
                return problem
    return None


def _items(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], where: str) -> str | None:
    if not isinstance(value, list):
        return None
    problems = (_check(item, schema["items"], root, f"{where}[{n}]") for n, item in enumerate(value, start=1))
    return next((problem for problem in problems if problem), None)


def _condition(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], where: str) -> str | None:
    applies = _check(value, schema["if"], root, where) is None
    return _check(value, schema["then"], root, where) if applies else None


def _inside(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _type(value: Any, name: str) -> str | None:
    fits = isinstance(value, _TYPES[name]) and not isinstance(value, bool)
    if name == "integer" and isinstance(value, float):
        fits = value.is_integer()
    if name == "number" and isinstance(value, float):
        fits = value == value and abs(value) != float("inf")
    return None if fits else f"must be of type {name}"


def _required(value: Any, names: list[str]) -> str | None:
    missing = [name for name in names if isinstance(value, dict) and name not in value]
    return f"lacks the field '{missing[0]}'" if missing else None


def _equal(value: Any, expected: Any) -> bool:
    return json.dumps(value) == json.dumps(expected)


def _pattern(value: Any, rule: str) -> str | None:
    # In JSON schema "$" is the very end; in Python a line break may follow it.
    exact = re.sub(r"\$$", r"\\Z", rule)
    return f"must match {rule}" if isinstance(value, str) and not re.search(exact, value) else None


def _number_rule(breaks: Callable[[float, float], bool], words: str) -> Callable[[Any, Any], str | None]:
    def check(value: Any, limit: float) -> str | None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return f"must be {words} {limit}" if is_number and breaks(value, limit) else None

    return check


def _length_rule(
    kind: type[str] | type[list], breaks: Callable[[int, int], bool], words: str
) -> Callable[[Any, Any], str | None]:
    def check(value: Any, limit: int) -> str | None:
        return f"must have {words.format(limit)}" if isinstance(value, kind) and breaks(len(value), limit) else None

    return check


_NESTED: dict[str, Callable[[Any, Mapping[str, Any], Mapping[str, Any], str], str | None]] = {
    "$ref": _reference,
    "properties": _properties,
    "items": _items,
    "if": _condition,
}
_SIMPLE: dict[str, Callable[[Any, Any], str | None]] = {
    "type": _type,
    "required": _required,
    "const": lambda value, rule: None if _equal(value, rule) else f"must be {json.dumps(rule)}",
    "enum": lambda value, rule: (
        None if any(_equal(value, one) for one in rule) else f"must be one of {', '.join(map(str, rule))}"
    ),
    "pattern": _pattern,
    "minimum": _number_rule(lambda value, limit: value < limit, "at least"),
    "maximum": _number_rule(lambda value, limit: value > limit, "at most"),
    "exclusiveMinimum": _number_rule(lambda value, limit: value <= limit, "more than"),
    "minLength": _length_rule(str, lambda size, limit: size < limit, "at least {} characters"),
    "maxLength": _length_rule(str, lambda size, limit: size > limit, "at most {} characters"),
    "minItems": _length_rule(list, lambda size, limit: size < limit, "at least {} entries"),
    "maxItems": _length_rule(list, lambda size, limit: size > limit, "at most {} entries"),
}
