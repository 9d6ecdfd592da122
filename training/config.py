"""Configuration is data: one JSON file per stage set, overridable as ``key.sub=value`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Config = dict[str, Any]


def load_config(path: Path, overrides: list[str]) -> Config:
    """Read a JSON config and apply ``a.b=value`` overrides (values are JSON, else text).

    Raises:
        ValueError: for an override without ``=`` or one that names a key the file does not have.
    """
    config = json.loads(Path(path).read_text(encoding="utf-8"))
    for item in overrides:
        key, sep, text = item.partition("=")
        if not sep:
            raise ValueError(f"'{item}' is no override: write key=value, for example autoencoder.steps=500.")
        *parents, last = key.split(".")
        node = config
        for parent in parents:
            if not isinstance(node.get(parent), dict):
                raise ValueError(f"The config has no section '{parent}' (from '{item}').")
            node = node[parent]
        if last not in node:
            raise ValueError(f"The config has no key '{key}'; known here: {', '.join(sorted(node))}.")
        try:
            node[last] = json.loads(text)
        except json.JSONDecodeError:
            node[last] = text
    return config
