"""How long a model of the user's own takes, whose work nobody has counted: as its last run did, in proportion."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from SynthCTModule.Estimates import (
    Device,
    Estimate,
    Settings,
    evaluations,
    key,
    secondsByStage,
    secondsInAll,
    storedJson,
)
from SynthCTModule.RunProgress import OF_MASK, ONCE, ROUGH

SETTING = "SynthCT/OwnRuns"
_UNMEASURED = {**{stage: ROUGH[stage] for stage in ONCE}, **dict.fromkeys(OF_MASK, 0.0)}
"""Seconds of stages that a report does not tell."""


class OwnRuns:
    """Seconds by stage of the last run of each model and device, with its voxels and evaluations of the networks."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def learn(self, report: Mapping[str, Any]) -> None:
        """Take in a finished run; one with retries of several CTs teaches nothing."""
        seconds = secondsByStage(report)
        if seconds is None:
            return
        grid = report["grid"] if "grid" in report else report["result"]
        run = {"voxels": math.prod(grid["shape"]), "evaluations": evaluations(report["settings"]), "seconds": seconds}
        runs = storedJson(self._settings, SETTING)
        runs[key(report["model"]["id"], Device(str(report["device"]["device"])))] = run
        self._settings.setValue(SETTING, json.dumps(runs))

    def estimate(
        self,
        model: str,
        shape: Sequence[int],
        sampling: Mapping[str, Any],
        device: Device | None = None,
        count: int = 1,
    ) -> Estimate | None:
        """As :meth:`Estimates.estimate`, without the memory; None before the first run."""
        run = storedJson(self._settings, SETTING).get(key(model, device or Device()))
        if run is None:
            return None
        larger = math.prod(shape) / run["voxels"]
        stages = _UNMEASURED | {stage: seconds * larger for stage, seconds in run["seconds"].items()}
        stages["denoise"] *= evaluations(sampling) / run["evaluations"]
        return Estimate(stages, secondsInAll(stages, count), None, True)
