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
    schema = json.loads((SCHEMAS / f"{schema_name or section}.schema.json").read_text(encoding="utf-8"))
    defaults = {key: rule["default"] for key, rule in schema["properties"].items() if "default" in rule}
    settings = {**defaults, **config[section]}
    worst = best_match(Draft202012Validator(schema).iter_errors(settings))
    if worst is not None:
        where = ".".join([section, *(str(part) for part in worst.absolute_path)])
        raise InputError(f"The config is not valid at '{where}': {worst.message}; correct this entry.")
    return settings
