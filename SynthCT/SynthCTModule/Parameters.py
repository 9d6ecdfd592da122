"""Settings of one run as the panel collects them, whether they can be used, and the job file made of them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SynthCTModule.Cards import findCard
from SynthCTModule.EnginePath import ensureEngineOnPath
from SynthCTModule.EngineText import engineText
from SynthCTModule.Translation import _

if TYPE_CHECKING:
    from SynthCTLib.cards import ModelCard

DEFAULT_MODEL = "synthct-embedded-v2"
OF_A_MASK = ("region", "size", "spacing", "guidance", "retries", "grid")
"""Settings that only mean something where a segmentation is painted."""
_DDPM_SOLVERS = ("ddpm", "ddim")
"""As SynthCTLib.scheduler, which needs PyTorch."""


@dataclass(frozen=True)
class RunParameters:
    """None means: as the model card says (region: from the labels; seed: at random).

    ``size`` (voxels) and ``spacing`` (mm) are toward right, anterior, superior. ``grid``: "model" or "input", the grid
    of the result. ``modelsFolder``: where a user's own card is looked for. A model that takes no segmentation has one
    size and spacing of its own, and none of OF_A_MASK may be set for it.
    """

    model: str = DEFAULT_MODEL
    region: str | None = None
    size: tuple[int, int, int] | None = None
    spacing: tuple[float, float, float] | None = None
    preset: str | None = None
    steps: int | None = None
    solver: str | None = None
    guidance: float | None = None
    temperature: float | None = None
    seed: int | None = None
    count: int = 1
    retries: int = 0
    device: str = "auto"
    grid: str = "model"
    modelsFolder: Path | None = None

    def isValid(self) -> tuple[bool, list[str]]:
        """Whether a run can start with these settings, and all reasons why not, as sentences that say what to do."""
        card = findCard(self.model, self.modelsFolder)
        if card is None:
            return False, [_("There is no model '{model}'; choose one in the list.").format(model=self.model)]
        ofMask = self._gridReasons(card) if card.takes_mask else self._masklessReasons()
        reasons = [*ofMask, *self._samplingReasons(card), *self._otherReasons()]
        return not reasons, reasons

    def takesMask(self) -> bool:
        """Whether the model paints a segmentation; True for one that is not known."""
        card = findCard(self.model, self.modelsFolder)
        return card is None or card.takes_mask

    def withoutMask(self) -> RunParameters:
        """The same without what only means something where a segmentation is painted."""
        return replace(self, **{name: RunParameters.__dataclass_fields__[name].default for name in OF_A_MASK})

    def toJob(self, maskPath: Path | None, outPath: Path, labels: str | None) -> dict[str, Any]:
        """The values of the job file (Resources/schemas/job.schema.json).

        maskPath: None for a model that takes no segmentation.
        labels: what the numbers of the mask mean (maisi, totalsegmentator); None: to be detected.
        ``stop_with_stdin`` stays off: what Slicer starts inherits its standard input, which may be at its end already.
        """
        settings = {key: value for key, value in asdict(self).items() if value is not None and key != "modelsFolder"}
        for key in ("size", "spacing"):
            if key in settings:
                settings[key] = list(settings[key])
        mask = {} if maskPath is None else {"mask": str(maskPath), "labels": labels}
        return {"schema": 1, **mask, "out": str(outPath), **settings, "parent_pid": os.getpid()}

    def sampling(self, card: ModelCard) -> dict[str, Any]:
        """Steps, solver, guidance and temperature as the engine will resolve them: own, then preset's, then card's."""
        values: dict[str, Any] = {"temperature": 1.0, **card.defaults, **card.presets.get(self.preset or "", {})}
        own = {name: getattr(self, name) for name in ("steps", "solver", "guidance", "temperature")}
        return values | {name: value for name, value in own.items() if value is not None}

    def _gridReasons(self, card: ModelCard) -> Iterator[str]:
        ensureEngineOnPath()
        from SynthCTLib.grid import AXES, axis_rules

        rules, square = axis_rules(card.grid), bool(card.grid.get("square", True))
        if self.size is not None:
            for rule, axis, size in zip(rules, AXES, self.size, strict=True):
                if size not in rule.sizes:
                    text = _("The size {size} ({axis}) is not allowed by the model; choose {allowed}.")
                    yield text.format(size=size, axis=axis, allowed=sizesInWords(rule.sizes))
            if square and self.size[0] != self.size[1]:
                yield _("The model makes square slices; make the first two sizes equal.")
        if self.spacing is not None:
            if not all(math.isfinite(step) and step > 0 for step in self.spacing):
                yield _("The spacing must be three numbers above 0 mm; correct it.")
            elif square and abs(self.spacing[0] - self.spacing[1]) > 1e-3:
                yield _("The model makes square voxels in the slice; make the first two spacings equal.")
        if self.region:
            yield from _regionReasons(self.region)

    def _masklessReasons(self) -> Iterator[str]:
        plain = self.withoutMask()
        given = [name for name in OF_A_MASK if getattr(self, name) != getattr(plain, name)]
        if given and not (given == ["guidance"] and self.guidance == 0):
            text = _("The model {model} takes no segmentation; leave out: {settings}.")
            yield text.format(model=self.model, settings=", ".join(given))

    def _samplingReasons(self, card: ModelCard) -> Iterator[str]:
        from SynthCTLib.job import SOLVER_NAMES

        if self.preset is not None and self.preset not in card.presets:
            text = _("The model has no quality '{preset}'; choose {choices}.")
            yield text.format(preset=self.preset, choices=", ".join(card.presets) or _("steps and solver yourself"))
        trained = int(card.scheduler.get("num_train_timesteps", 1000))
        if self.steps is not None and not 1 <= self.steps <= trained:
            yield _("The number of steps must be from 1 to {most}; correct it.").format(most=trained)
        if self.solver is not None and self.solver not in SOLVER_NAMES:
            yield _("There is no solver '{solver}'; choose {choices}.").format(
                solver=self.solver, choices=", ".join(SOLVER_NAMES)
            )
        elif (self.sampling(card)["solver"] in _DDPM_SOLVERS) != (card.family == "ddpm" or not card.takes_mask):
            yield _("The solver does not fit the model; leave it at the model's own.")
        if self.guidance is not None and not (math.isfinite(self.guidance) and self.guidance >= 0):
            yield _("The guidance must be 0 (none) or a positive number; correct it.")
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            yield _("The temperature must be from 0 to 2; correct it.")

    def _otherReasons(self) -> Iterator[str]:
        from SynthCTLib.job import SEEDS

        if self.seed is not None and not 0 <= self.seed < SEEDS:
            yield _("The seed must be from 0 to {largest}; correct it or draw a new one.").format(largest=SEEDS - 1)
        if not 1 <= self.count <= 1000:
            yield _("The number of CTs must be from 1 to 1000; correct it.")
        if not 0 <= self.retries <= 100:
            yield _("The number of retries must be from 0 to 100; correct it.")
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", self.device):
            text = _("There is no device '{device}'; choose auto, cpu, cuda, cuda:1 or mps.")
            yield text.format(device=self.device)
        if self.grid not in ("model", "input"):
            yield _("The grid of the result must be that of the model or of the input; choose one.")


def parametersFromJson(values: Mapping[str, Any]) -> RunParameters:
    """Parameters from the values of a job, a report or settings stored on a node; unknown entries are ignored."""
    known = {key: values[key] for key in RunParameters.__dataclass_fields__ if values.get(key) is not None}
    for key in ("size", "spacing"):
        if key in known:
            known[key] = tuple(known[key])
    if "modelsFolder" in known:
        known["modelsFolder"] = Path(known["modelsFolder"])
    return RunParameters(**known)


def sizesInWords(sizes: tuple[int, ...]) -> str:
    """``48, 64, 80, …, 192`` for many sizes, all of them for a few."""
    return ", ".join(map(str, sizes if len(sizes) <= 6 else (*sizes[:3], "…", sizes[-1])))


def _regionReasons(region: str) -> Iterator[str]:
    from SynthCTLib.errors import InputError
    from SynthCTLib.regions import parse_region

    try:
        parse_region(region)
    except InputError as error:
        yield engineText(str(error))
