"""Sections of a config are checked against a JSON schema; what a section leaves out has the schema's default."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from SynthCTLib.errors import InputError
from training.config import Config

SCHEMAS = Path(__file__).parent / "schemas"


def require_keys(config: Config, *keys: str) -> None:
    """Raise InputError unless the config has all of these keys; a dot goes down into a section."""
    for key in keys:
        node: Any = config
        for part in key.split("."):
            if not isinstance(node, dict) or part not in node:
                raise InputError(f"The config has no '{key}', which this stage needs; see training/configs.")
            node = node[part]


def read_settings(config: Config, section: str, schema_name: str | None = None) -> dict[str, Any]:
    """The config's ``section``, complete and valid by ``schemas/<section>.schema.json`` or the one named.

    Raises InputError if the section is missing or breaks a rule; the sentence names the key.
    """
    require_keys(config, section)
    return _complete(config[section], schema_name or section, section)


def read_top_level(config: Config, schema_name: str) -> dict[str, Any]:
    """What the schema knows of the config itself, complete and valid; other keys belong to other stages.

    Raises InputError as :func:`read_settings` does.
    """
    return _complete(config, schema_name, "")


def _complete(given: Any, schema_name: str, section: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise InputError(f"The config's '{section}' is no section {{…}} but {given!r}; see training/configs.")
    schema = json.loads((SCHEMAS / f"{schema_name}.schema.json").read_text(encoding="utf-8"))
    defaults = {key: rule["default"] for key, rule in schema["properties"].items() if "default" in rule}
    known = given if section else {key: value for key, value in given.items() if key in schema["properties"]}
    settings = {**defaults, **known}
    worst = best_match(Draft202012Validator(schema).iter_errors(settings))
    if worst is not None:
        where = ".".join([*filter(None, [section]), *(str(part) for part in worst.absolute_path)])
        at = f" at '{where}'" if where else ""
        raise InputError(f"The config is not valid{at}: {worst.message}; correct this entry.")
    return settings
