"""Adds the body envelope, or puts a segmentation on the model's grid, with the engine in its own process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

from SynthCTModule.EngineCommand import EngineCommand
from SynthCTModule.RunFolder import RunFolder
from SynthCTModule.SegmentationCheck import addBody
from SynthCTModule.SegmentationExchange import exportLabelmap, importLabelmap
from SynthCTModule.Translation import _
from SynthCTModule.WorkerEvents import Failure

OnPrepared = Callable[[Any, str], None]
"""(the node that has it, or None; a sentence)"""


def prepareMask(command: EngineCommand, node: Any, model: str, resample: bool, onPrepared: OnPrepared) -> None:
    """Let the engine prepare a segmentation; then its body is added to it, or with ``resample`` a new node is made.

    Raises what exportLabelmap raises, and RuntimeError while the command is busy.
    """
    folder = RunFolder(Path(slicer.app.temporaryPath))

    def ended(result: Any, failure: Failure | None) -> None:
        if result is not None or failure is not None:
            onPrepared(*_applied(node, folder.out / "mask.nii.gz", resample, failure))

    try:
        report = exportLabelmap(node, folder.mask)
        arguments = ["prepare", folder.mask, "--out", folder.out, "--model", model]
        arguments += ["--labels", report.scheme] if report.scheme else []
        command.start(arguments, ended, folder.remove)
    except Exception:
        folder.remove()
        raise


def _applied(node: Any, mask: Path, resample: bool, failure: Failure | None) -> tuple[Any, str]:
    if failure is not None:
        return None, failure.text()
    try:
        if resample:
            return importLabelmap(mask, name=f"{node.GetName()} {_('resampled')}"), _("A new segmentation was made.")
        addBody(node, mask)
        return node, _("The body envelope was added.")
    except (RuntimeError, ValueError) as error:
        return None, str(error)
    except Exception as error:  # who waits for an answer must get one, or the buttons stay gray
        logging.exception("A mask that the engine has prepared could not be used")
        return None, _("The prepared mask could not be used ({error}); see the log.").format(error=error)
