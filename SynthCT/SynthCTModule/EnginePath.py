"""Where the engine (``SynthCTLib`` with its ``Resources``) is: in an installed extension and in a source tree."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from SynthCTModule.Translation import _


def engineRoot() -> Path:
    """The folder that holds ``SynthCTLib``.

    An installed extension has it beside ``SynthCTModule``, a source tree one folder higher.
    Raises RuntimeError when it is in neither place, which means the installation is incomplete.
    """
    here = Path(__file__).resolve()
    for folder in (here.parents[1], here.parents[2]):
        if (folder / "SynthCTLib" / "__init__.py").is_file():
            return folder
    text = _("SynthCTLib is missing near {folder}; install the SynthCT extension again.")
    raise RuntimeError(text.format(folder=here.parents[1]))


def ensureEngineOnPath() -> Path:
    """Make ``import SynthCTLib`` find the engine that belongs to this module; returns its folder.

    The engine is imported at once, so that a version installed with pip does not come first. In a source tree its
    folder goes to the end of the path: it holds folders whose names other extensions may use as well.
    """
    root = engineRoot()
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
        try:
            importlib.import_module("SynthCTLib")
        finally:
            sys.path.remove(str(root))
        sys.path.append(str(root))
    return root


def resourcesFolder() -> Path:
    """The engine's ``Resources``: labels, models, cases, schemas."""
    ensureEngineOnPath()
    from SynthCTLib.resources import resources_folder

    return resources_folder()
