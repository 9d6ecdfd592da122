"""The grid that a run will choose for an anatomy, planned before the run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from SynthCTModule.Cards import findCard
from SynthCTModule.EnginePath import ensureEngineOnPath
from SynthCTModule.EngineText import engineText
from SynthCTModule.Parameters import RunParameters
from SynthCTModule.Translation import _
from SynthCTModule.VoxelGrid import Grid, valueCounts

ReadLabels = Callable[[], "tuple[np.ndarray, np.ndarray]"]
"""Gives what labelArray gives: label ids (X, Y, Z) uint8 and affine (voxel → RAS mm)."""


def plan(labels: ReadLabels | None, parameters: RunParameters) -> tuple[Grid | None, str]:
    """The grid for an anatomy, or for None the grid to draw on; or None and why there is none."""
    ensureEngineOnPath()
    from SynthCTLib.errors import SynthCTError

    try:
        return (emptyGrid(parameters) if labels is None else plannedGrid(*labels(), parameters)), ""
    except (SynthCTError, RuntimeError, ValueError) as error:
        return None, engineText(str(error))


def plannedGrid(labels: np.ndarray, affine: np.ndarray, parameters: RunParameters) -> Grid:
    """The model's grid for label ids (X, Y, Z; affine voxel → RAS mm), before a missing body envelope is known.

    Raises ValueError when there is no such model; InputError without a label and for sizes that the model does not
    allow.
    """
    ensureEngineOnPath()
    from SynthCTLib.grid import plan_grid
    from SynthCTLib.regions import Region, parse_region, region_from_labels
    from SynthCTLib.volume import Volume

    card = findCard(parameters.model, parameters.modelsFolder)
    if card is None:
        raise ValueError(_("There is no model '{model}'; choose one in the list.").format(model=parameters.model))
    wanted = parse_region(parameters.region) if parameters.region else region_from_labels(presentLabels(labels))
    plan = plan_grid(Volume(labels, affine), card, wanted or Region(1, 2), parameters.size, parameters.spacing)
    return Grid(plan.shape, plan.affine)


def emptyGrid(parameters: RunParameters) -> Grid:
    """The grid for an anatomy that is still to be drawn: chosen size and spacing, else the model's for the region.

    Its center lies at the origin. Raises ValueError when there is no such model.
    """
    card = findCard(parameters.model, parameters.modelsFolder)
    if card is None:
        raise ValueError(_("There is no model '{model}'; choose one in the list.").format(model=parameters.model))
    defaults = card.grid["defaults"]
    entry = defaults.get(parameters.region or "", defaults["*"])
    x, y, z = parameters.size or entry["size"]
    spacing = np.array(parameters.spacing or entry["spacing"], float)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -spacing * (np.array([x, y, z]) - 1) / 2
    return Grid((int(x), int(y), int(z)), affine)


def presentLabels(labels: np.ndarray) -> list[int]:
    """The ids in an array of labels."""
    return list(valueCounts(labels))
