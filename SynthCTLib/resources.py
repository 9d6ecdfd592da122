"""Where the files that ship with SynthCT are: in a checkout and in an installed package alike."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from SynthCTLib.errors import ResourceError


@lru_cache(maxsize=1)
def resources_folder() -> Path:
    """The folder ``Resources``: beside the package in a checkout, inside the package in an installed wheel.

    Raises ResourceError when neither exists, which means the installation is incomplete.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "Resources", package.parent / "Resources"):
        if (folder / "labels").is_dir():
            return folder
    raise ResourceError(
        f"SynthCT's Resources folder is missing beside {package}; install SynthCT again from a complete copy."
    )


def resource_path(*parts: str) -> Path:
    """Path of one shipped file or folder, for example ``resource_path("labels", "synthct-labels.csv")``.

    The path is not required to exist: callers that list optional content decide for themselves.
    """
    return resources_folder().joinpath(*parts)
