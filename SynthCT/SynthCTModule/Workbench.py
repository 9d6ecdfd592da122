"""What the panels and scripts share: one run at a time, its results, what is missing for it, and signals about it.

It wires the pieces together and holds no knowledge of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import slicer

from SynthCTModule.BodyEnvelope import OnPrepared, prepareMask
from SynthCTModule.Cards import findCard, modelsRoot
from SynthCTModule.EngineCommand import EngineCommand
from SynthCTModule.EngineText import engineText
from SynthCTModule.Estimates import Device, Estimate, Estimates
from SynthCTModule.GridPlan import plan
from SynthCTModule.ImportRun import importRun
from SynthCTModule.InputObserver import InputObserver
from SynthCTModule.Installer import Installer
from SynthCTModule.LabelArray import labelArray
from SynthCTModule.Models import Models
from SynthCTModule.OwnRuns import OwnRuns
from SynthCTModule.Parameters import RunParameters
from SynthCTModule.ResultNodes import ResultNodes
from SynthCTModule.Run import Run, RunOutcome
from SynthCTModule.RunProgress import OF_MASK
from SynthCTModule.SegmentationCheck import ADD_BODY, RESAMPLE, Problem, applyFix
from SynthCTModule.SegmentationExchange import ExportReport, UnknownSegments, exportLabelmap
from SynthCTModule.Setup import Setup
from SynthCTModule.Signal import Signal
from SynthCTModule.Steps import Steps
from SynthCTModule.Translation import _
from SynthCTModule.VoxelGrid import Grid
from SynthCTModule.Work import OnDone
from SynthCTModule.WorkerProcess import WorkerProcess

MakeProcess = Callable[[], WorkerProcess]


class Workbench:
    """
    Signals of runs: runStateChanged(RunState), runProgressChanged(Progress), runLogChanged(line),
    runFinished(RunOutcome), resultsImported([ResultNodes]), inputProblems(node, [Problem]). For the panels to tell each
    other: anatomyWillChange(), segmentChosen(id). readinessChanged(): setup or models have changed.
    ``input`` follows the chosen anatomy. ``edits`` is busy while an edit of it is going on.

    makeProcess: makes a process for the engine. settings: where estimates are kept (Slicer: ``qt.QSettings()``).
    installer: installs what is missing.
    """

    def __init__(self, makeProcess: MakeProcess, settings: Any, installer: Installer) -> None:
        self.runStateChanged, self.runProgressChanged = Signal(), Signal()
        self.runLogChanged, self.runFinished = Signal(), Signal()
        self.resultsImported, self.inputProblems = Signal(), Signal()
        self.anatomyWillChange, self.segmentChosen = Signal(), Signal()
        self.readinessChanged = Signal()
        self.input = InputObserver()
        self.edits = Steps()
        self._makeProcess = makeProcess
        self.estimates, self.ownRuns = Estimates(settings), OwnRuns(settings)
        self._commands = [EngineCommand(makeProcess()), EngineCommand(makeProcess())]
        self.setup = Setup(self._commands[0], installer)
        self.models = Models(self._commands[1])
        self.setup.changed.connect(self._onReadiness)
        self.models.changed.connect(self._onReadiness)
        self._setupReasons = self.setup.ready()[1]
        self._settings: dict[str, Any] = {}
        self._planned: tuple[Any, Grid | None, str] | None = None
        self._labels: tuple[Any, Any] | None = None
        self._inputNode: Any = None
        self._problems: list[Problem] = []
        self._outputVolumeNode: Any = None
        self._preparation = EngineCommand(makeProcess())
        self._preparing = False
        self._importSteps = Steps()  # one for all runs, since PythonQt keeps what a timer is connected to
        self.run = self._newRun()

    def generate(
        self, node: Any, parameters: RunParameters, labelScheme: str | None = None, outputVolumeNode: Any = None
    ) -> bool:
        """Start a run for a segmentation or label map node; False when it could not start (runFinished tells why).

        node: None for a model that takes no segmentation.
        labelScheme: what the numbers of a label map mean where its color table does not say; None: to be detected.
        Raises RuntimeError while a run or an edit is going on, without a segmentation that the model needs, and with
        one that it does not take.
        """
        if self.run.busy:
            raise RuntimeError(_("A run is going on; wait for it or cancel it."))
        if self.edits.busy:
            raise RuntimeError(_("The anatomy is being changed; wait a moment."))
        takesMask = parameters.takesMask()
        if takesMask and node is None:
            raise RuntimeError(_("Choose an anatomy: load a case or a file, or select a segmentation."))
        if not takesMask and node is not None:
            text = _("The model {model} takes no segmentation; leave it out.")
            raise RuntimeError(text.format(model=parameters.model))
        self._inputNode, self._outputVolumeNode, self._problems = node, outputVolumeNode, []
        self._settings = {key: value for key, value in asdict(parameters).items() if value is not None}

        def writeMask(path: Path) -> str | None:
            return self._exported(node, path).scheme or labelScheme or None

        grid, _problem = self.plan(node, parameters, labelScheme)
        expected = self._estimate(parameters, grid) if grid is not None else None
        stages = expected.stages if expected else None
        if not takesMask:
            return self.run.start(parameters, None, {**dict.fromkeys(OF_MASK, 0.0), **(stages or {})})
        return self.run.start(parameters, writeMask, stages)

    def close(self) -> None:
        """End what belongs to the scene: run, edit, and what is prepared for a run; no process and no file is left."""
        self.edits.stop()
        self.run.close()
        self._preparation.close()
        self._preparing = False  # its process may be there for a moment, unheard
        self.run = self._newRun()
        self.runStateChanged.emit(self.run.state)

    def shutdown(self) -> None:
        """End everything for good, without a word: those who listen are going."""
        self.input.observe(None)
        self.edits.stop()
        self.run.close()
        self.setup.close()
        for command in (self._preparation, *self._commands):
            command.close()

    def missing(self, modelId: str) -> list[str]:
        """What keeps any run from starting now, as sentences."""
        reasons = [_("The anatomy is being changed; wait a moment.")] if self.edits.busy else []
        row = self.models.row(modelId)
        if row is None or row.status in ("ready", "unknown"):
            return [*reasons, *self._setupReasons]
        text = _("The model '{title}' is not on this computer; get it in the section Model.")
        return [*reasons, *self._setupReasons, text.format(title=row.title)]

    def modelsFolder(self) -> Path | None:
        """Where a user's own models are; None while unknown."""
        return self.models.modelsFolder() or modelsRoot()

    def estimateText(self, parameters: RunParameters, grid: Grid) -> str:
        """Time, memory and device of a run in words, before it is started."""
        estimate = self._estimate(parameters, grid)
        if estimate is None:
            return _("known after the first run of this model")
        source = _("from your own runs") if estimate.learned else _("before the first run only roughly known")
        return f"{estimate.text()} ({source})"

    def plan(self, node: Any, parameters: RunParameters, labelScheme: str | None = None) -> tuple[Grid | None, str]:
        """The grid of a run, or why there is none; planned again only when something that it depends on has changed.

        Without a node, and for a model that takes none, the model's grid for an anatomy that is still to be drawn.
        """
        node = node if parameters.takesMask() else None
        content = self._contentOf(node, labelScheme)
        wanted = (content, parameters.model, parameters.region, parameters.size, parameters.spacing)
        if self._planned is None or self._planned[0] != wanted:
            labels = None if node is None else lambda: self._labelsOf(node, labelScheme, content)
            self._planned = (wanted, *plan(labels, parameters))
        return self._planned[1:]

    def labelmapProblems(self, node: Any, labelScheme: str | None) -> list[Problem]:
        """What keeps a label map volume from being used: above all, that it is not known what its numbers mean."""
        from SynthCTLib.errors import SynthCTError

        try:
            labelArray(node, labelScheme)
        except (SynthCTError, RuntimeError, ValueError) as error:
            return _problemsOf(error)
        return []

    def unchangeable(self) -> str:
        """Why the anatomy cannot be changed now, as a sentence; empty where it can."""
        if self.edits.busy:
            return _("The anatomy is being changed; wait a moment.")
        preparing = self._preparing and self._preparation.busy
        return _("The anatomy is being prepared; wait a moment.") if preparing else ""

    def fix(self, problem: Problem, node: Any, labelId: int | None, model: str, onFixed: OnPrepared) -> None:
        """Put a problem of the check right; what needs the engine takes seconds, then ``onFixed`` is called.

        Raises RuntimeError where the anatomy is unchangeable: an edit and a fix at once would lose one of them.
        """
        self._stopIfUnchangeable()
        self.anatomyWillChange.emit()
        if problem.fix in (ADD_BODY, RESAMPLE):
            prepareMask(self._preparation, node, model, problem.fix == RESAMPLE, partial(self._prepared, onFixed))
            self._preparing = True
            self.readinessChanged.emit()
        else:
            applyFix(problem, node, labelId)
            onFixed(node, "")

    def edit(self, work: Generator[None, None, Any], onDone: OnDone) -> None:
        """Change the anatomy in steps (SynthCTModule.AnatomyEdits); meanwhile no run starts.

        Raises RuntimeError where the anatomy is unchangeable.
        """
        self._stopIfUnchangeable()
        self.anatomyWillChange.emit()
        self.edits.start(work, lambda error: self._edited(onDone, error))
        self.readinessChanged.emit()

    def _stopIfUnchangeable(self) -> None:
        reason = self.unchangeable()
        if reason:
            raise RuntimeError(reason)

    def _prepared(self, onFixed: OnPrepared, node: Any, sentence: str) -> None:
        self._preparing = False
        self.readinessChanged.emit()
        onFixed(node, sentence)

    def _edited(self, onDone: OnDone, error: Exception | None) -> None:
        self.readinessChanged.emit()
        onDone(error)

    def _contentOf(self, node: Any, labelScheme: str | None) -> Any:
        """What stays equal for as long as a node does; for one that is not followed, never."""
        return (labelScheme, self.input.version) if node is None or node is self.input.node else object()

    def _labelsOf(self, node: Any, labelScheme: str | None, content: Any) -> Any:
        """The labels of a node, composed once for all grids that are planned for it."""
        if node is not self.input.node:
            return labelArray(node, labelScheme)
        if self._labels is None or self._labels[0] != content:
            self._labels = None  # so that two arrays are not held at once
            self._labels = (content, labelArray(node, labelScheme))
        return self._labels[1]

    def _estimate(self, parameters: RunParameters, grid: Grid) -> Estimate | None:
        card = findCard(parameters.model, parameters.modelsFolder)
        if card is None:
            return None
        device = self.setup.device() if parameters.device == "auto" else Device(parameters.device)
        sampling = parameters.sampling(card)
        source = self.estimates if self.estimates.counts(parameters.model) else self.ownRuns
        return source.estimate(parameters.model, grid.shape, sampling, device, parameters.count)

    def _onReadiness(self) -> None:
        self._setupReasons = self.setup.ready()[1]
        self.readinessChanged.emit()

    def _exported(self, node: Any, path: Path) -> ExportReport:
        """Write the mask of a run and show what the check has found on the way."""
        try:
            report = exportLabelmap(node, path)
        except (RuntimeError, ValueError) as error:
            self.inputProblems.emit(node, _problemsOf(error))
            raise
        self._problems = [Problem.fromFinding(finding, _segmentation(node)) for finding in report.findings]
        return report

    def _newRun(self) -> Run:
        run = Run(self._makeProcess(), self._import, Path(slicer.app.temporaryPath), self._learn, self._importSteps)
        run.stateChanged.connect(self.runStateChanged.emit)
        run.progressChanged.connect(self.runProgressChanged.emit)
        run.logChanged.connect(self.runLogChanged.emit)
        run.finished.connect(self._onFinished)
        return run

    def _onFinished(self, outcome: RunOutcome) -> None:
        """Show what the checks of the run have found beside how it ended."""
        node = self._inputNode
        found = [Problem.fromFinding(finding, _segmentation(node)) for finding in outcome.findings]
        if self._problems or found:
            self.inputProblems.emit(node, [*self._problems, *found])
        self.runFinished.emit(outcome)

    def _learn(self, report: Mapping[str, Any]) -> None:
        """Better estimates are a bonus: a report that teaches nothing must not spoil a CT that is there."""
        try:
            source = self.estimates if self.estimates.counts(report["model"]["id"]) else self.ownRuns
            source.learn(report)
        except (KeyError, TypeError, ZeroDivisionError):
            logging.exception("The timings of a SynthCT run could not be used for estimates")

    def _import(self, results: list[dict[str, Any]]) -> Generator[None, None, list[ResultNodes]]:
        nodes = yield from importRun(results, self._inputNode, self._settings, self._outputVolumeNode)
        self.resultsImported.emit(nodes)
        return nodes


def _segmentation(node: Any) -> Any:
    """The node where problems can name its segments, None for label maps and without a node."""
    return node if node is not None and node.IsA("vtkMRMLSegmentationNode") else None


def _problemsOf(error: Exception) -> list[Problem]:
    if isinstance(error, UnknownSegments):
        return [Problem("error", one.problem, (one.segmentId,), code=one.code) for one in error.segments]
    return [Problem("error", engineText(str(error)))]
