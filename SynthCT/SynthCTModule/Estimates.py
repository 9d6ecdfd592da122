"""How long a CT will take and how much memory, before it is made.

Work and memory of each model's networks are counted (``Resources/estimates.json``, made by ``python -m
benchmarks.estimates``): seconds = multiplications / speed. The speed is that of the machine the file was made on, until
the reports of this user's own runs correct it, stage by stage, for each model and device.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from SynthCTModule.EnginePath import resourcesFolder
from SynthCTModule.RunProgress import EACH, ONCE, secondsText
from SynthCTModule.Translation import _

GPU_SPEED = 5e12
"""Multiplications per second of a GPU that was never used: not measured, a cautious guess that each run corrects."""

DISK_SPEED = 5e8
"""Bytes per second at which weights are read."""

GUIDED = 2
"""Evaluations of the networks per step with guidance; one without."""

NEWEST = 0.5
"""Weight of the newest run against all earlier ones."""

LIMIT = 100.0
"""No correction is larger: beyond, the report belongs to something else, such as a computer that was asleep."""

DECODER_SHARE = 0.6
"""Share of a device's memory that decoding may take (SynthCTLib.decoder.MEMORY_SHARE)."""

USUAL_MEMORY = 16_000_000_000
"""Bytes of memory where the device has not told."""

SETTING = "SynthCT/SecondsFactors"


class Settings(Protocol):
    """Where text is kept between sessions; in Slicer ``qt.QSettings``."""

    def value(self, key: str, default: str) -> Any:
        """The text under a key."""

    def setValue(self, key: str, value: str) -> None:
        """Keep a text."""


@dataclass(frozen=True)
class Device:
    """``name``: cpu, cuda, mps …; ``memory``: bytes it has in all; ``free``: None while unknown."""

    name: str = "cpu"
    memory: int = USUAL_MEMORY
    free: int | None = None

    @property
    def kind(self) -> str:
        """The name without the number of a GPU."""
        return self.name.partition(":")[0]


@dataclass(frozen=True)
class Estimate:
    """``stages``: seconds, those of RunProgress.EACH for one CT; ``seconds``: of all CTs.

    ``memory``: peak in bytes, or None while unknown. ``learned``: whether runs on this device have corrected it.
    """

    stages: dict[str, float]
    seconds: float
    memory: int | None
    learned: bool

    def text(self) -> str:
        """``about 40 s, 1.5 GB``."""
        if self.memory is None:
            return _("about {time}").format(time=secondsText(self.seconds))
        return _("about {time}, {memory:.1f} GB").format(time=secondsText(self.seconds), memory=self.memory / 1e9)


class Estimates:
    """Estimates and what has been learned from runs.

    data: the content of ``estimates.json``, read when None. cores: of this computer, counted when None.
    """

    def __init__(self, settings: Settings, data: Mapping[str, Any] | None = None, cores: int | None = None) -> None:
        self._settings = settings
        self._data = data
        self._cores = cores or os.cpu_count() or 2

    def estimate(
        self,
        model: str,
        shape: Sequence[int],
        sampling: Mapping[str, Any],
        device: Device | None = None,
        count: int = 1,
    ) -> Estimate | None:
        """For a grid of ``shape`` voxels; None for a model of the user's own, whose work nobody has counted.

        sampling: ``RunParameters.sampling(card)``.
        """
        device = device or Device()
        plain = self._plain(model, shape, sampling, device)
        if plain is None:
            return None
        factors = self._factors().get(key(model, device), {})
        stages = {stage: seconds * factors.get(stage, 1.0) for stage, seconds in plain.items()}
        return Estimate(
            stages, secondsInAll(stages, count), self._memory(model, shape, sampling, device), bool(factors)
        )

    def counts(self, model: str) -> bool:
        """Whether the work of this model has been counted."""
        return model in self._all()["cards"]

    def learn(self, report: Mapping[str, Any]) -> None:
        """Correct later estimates by the timings of a report; runs with retries of several CTs teach nothing."""
        taken = secondsByStage(report)
        model, device = report["model"]["id"], Device(str(report["device"]["device"]))
        plain = self._plain(model, report["grid"]["shape"], report["settings"], device)
        if plain is None or taken is None:
            return
        factors = self._factors()
        mine = factors.setdefault(key(model, device), {})
        for stage, seconds in taken.items():
            ratio = seconds / plain[stage]
            if 1 / LIMIT <= ratio <= LIMIT:
                before = mine.get(stage, ratio)
                mine[stage] = math.exp((1 - NEWEST) * math.log(before) + NEWEST * math.log(ratio))
        self._settings.setValue(SETTING, json.dumps(factors))

    def _plain(
        self, model: str, shape: Sequence[int], sampling: Mapping[str, Any], device: Device
    ) -> dict[str, float] | None:
        """Seconds by stage without what has been learned."""
        data = self._all()
        card, voxels = data["cards"].get(model), math.prod(shape)
        if card is None:
            return None
        embeddings = GUIDED if sampling["guidance"] > 0 else 1
        work = {
            "embed": embeddings * _along(card["voxels"], card["embed"]["work"], voxels),
            "denoise": evaluations(sampling)
            * (card["denoise"]["linear"] * voxels + card["denoise"]["quadratic"] * voxels**2),
            "decode": _along(card["voxels"], self._decodeTable(card, device)["work"], voxels),
        }
        speed = self._speed(device)
        seconds = {stage: amount / speed[stage] for stage, amount in work.items()}
        other = data["seconds_per_megavoxel"]
        seconds["prepare"] = 0.2 + other["prepare"] * voxels / 1e6
        seconds["write"] = 0.1 + (other["check"] + other["write"]) * voxels / 1e6
        return seconds | {"start": data["start"], "load": data["load"] + 4 * card["weights"] / DISK_SPEED}

    def _memory(self, model: str, shape: Sequence[int], sampling: Mapping[str, Any], device: Device) -> int:
        """Peak bytes on the device: the program, the weights, and the stage whose features take most."""
        data, voxels = self._all(), math.prod(shape)
        card = data["cards"][model]
        kept = GUIDED if sampling["guidance"] > 0 else 1
        features = max(
            card["denoise"]["bytes_per_voxel"] * voxels,
            _along(card["voxels"], card["embed"]["bytes"], voxels),
            _along(card["voxels"], self._decodeTable(card, device)["bytes"], voxels),
        )
        features += (kept - 1) * voxels
        if device.kind == "cuda":  # half precision; the program itself is in the computer's memory
            return int(features / 2 + 2 * card["weights"])
        return int(data["program_bytes"] + data["bytes_per_feature_byte"] * features + 4 * card["weights"])

    def _speed(self, device: Device) -> dict[str, float]:
        measured: dict[str, float] = self._all()["speed"]
        if device.kind != "cpu":
            return dict.fromkeys(measured, GPU_SPEED)
        threads = self._all()["machine"]["threads"]
        faster = min(4.0, max(1.0, self._cores / 2 / threads))  # two logical cores make one; memory limits the rest
        return {stage: value * faster for stage, value in measured.items()}

    @staticmethod
    def _decodeTable(card: Mapping[str, Any], device: Device) -> Mapping[str, Any]:
        """The plan for the largest budget that this device allows."""
        allowed = [table for table in card["decode"] if table["budget"] <= DECODER_SHARE * device.memory]
        return (allowed or card["decode"][:1])[-1]

    def _factors(self) -> dict[str, dict[str, float]]:
        return storedJson(self._settings, SETTING)

    def _all(self) -> Mapping[str, Any]:
        if self._data is None:
            self._data = json.loads((resourcesFolder() / "estimates.json").read_text(encoding="utf-8"))
        return self._data


def secondsByStage(report: Mapping[str, Any]) -> dict[str, float] | None:
    """Seconds that the stages of a run took, those of EACH for one CT; None for retries of several CTs.

    A CT made without a segmentation has timings of its own, and no stages before it in them.
    """
    job, timings = report["job"], report["timings"]
    if "attempts" not in report:
        return {stage: timings[stage] for stage in EACH}
    if job["count"] > 1 and job["retries"] > 0:
        return None
    images = job["count"] if job["count"] > 1 else len(report["attempts"])
    taken = {stage: timings[stage] for stage in ("prepare", "load", "embed")}
    taken |= {stage: timings[stage] / images for stage in ("denoise", "decode")}
    return taken | {"write": timings["write"] / job["count"] + timings["check"] / images}


def secondsInAll(stages: Mapping[str, float], count: int) -> float:
    """Seconds of ``count`` CTs."""
    return sum(stages[stage] for stage in ONCE) + count * sum(stages[stage] for stage in EACH)


def evaluations(sampling: Mapping[str, Any]) -> int:
    """How often the networks of a run are evaluated."""
    return int(sampling["steps"]) * (GUIDED if sampling["guidance"] > 0 else 1)


def storedJson(settings: Settings, name: str) -> dict[str, Any]:
    """What is kept under a name; empty where nothing is, or something else."""
    try:
        found = json.loads(settings.value(name, "{}") or "{}")
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def key(model: str, device: Device) -> str:
    """What corrections are kept for: all GPUs of one kind count as one."""
    return f"{model}@{device.kind}"


def _along(voxels: Sequence[int], values: Sequence[float], wanted: float) -> float:
    """The value for a number of voxels: a line in logarithms between counted sizes, in proportion beyond them."""
    if wanted <= voxels[0]:
        return values[0] * wanted / voxels[0]
    if wanted >= voxels[-1]:
        return values[-1] * wanted / voxels[-1]
    after = next(number for number, size in enumerate(voxels) if size >= wanted)
    x0, x1 = math.log(voxels[after - 1]), math.log(voxels[after])
    y0, y1 = math.log(values[after - 1]), math.log(values[after])
    return math.exp(y0 + (y1 - y0) * (math.log(wanted) - x0) / (x1 - x0))
