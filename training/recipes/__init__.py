"""What is known about public CT sets, as data: folder layout, labels, regions, licence, citation, patient pattern.

A recipe is a JSON file beside this one; ``{"recipe": "lidc-idri"}`` in the config takes its settings, and what the
config says itself comes over them.
"""

from __future__ import annotations

import json
from pathlib import Path

from SynthCTLib.errors import InputError
from training.config import Config

FOLDER = Path(__file__).parent
DESCRIPTION = ("title", "url", "layout", "remarks")
"""Keys of a recipe for people; the others are settings."""


def recipe_names() -> list[str]:
    """Names of all recipes."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load_recipe(name: str) -> Config:
    """The recipe ``name``. Raises InputError, which lists the names, when there is none."""
    path = FOLDER / f"{name}.json"
    if name not in recipe_names():
        raise InputError(f"There is no recipe '{name}'; use one of {', '.join(recipe_names())}.")
    return json.loads(path.read_text(encoding="utf-8"))


def with_recipe(settings: Config) -> Config:
    """The settings over those of the recipe that they name; null in the settings leaves the recipe's value."""
    name = settings.get("recipe")
    given = {key: value for key, value in settings.items() if value not in (None, "", {}, []) and key != "recipe"}
    if not name:
        return given
    recipe = {key: value for key, value in load_recipe(name).items() if key not in DESCRIPTION}
    return {**recipe, "group": name, **given}
