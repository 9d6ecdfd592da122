"""What all panels share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import qt
import slicer

from SynthCTModule.Cards import findCard
from SynthCTModule.EnginePath import ensureEngineOnPath
from SynthCTModule.EngineText import engineText

if TYPE_CHECKING:
    from SynthCTLib.cards import ModelCard


class Panel:
    """One section of the module's panel: shows the parameter node, does what its buttons say.

    ui: the widgets by name. logic: SynthCTLogic. parameters: gives the parameter node, or None between two scenes.
    """

    def __init__(self, ui: Any, logic: Any, parameters: Callable[[], Any]) -> None:
        self.ui, self.logic, self._parameters = ui, logic, parameters
        self.setup()

    @property
    def node(self) -> Any:
        """The parameter node; None between two scenes."""
        return self._parameters()

    def card(self) -> ModelCard | None:
        """The card of the chosen model; None for one that is not known here."""
        return findCard(self.node.modelId, self.logic.modelsFolder())

    def setup(self) -> None:
        """Fill and connect the widgets; called once."""

    def update(self) -> None:
        """Show the parameter node; called whenever it has changed, never while there is none."""

    def enter(self) -> None:
        """The module is shown."""

    def exit(self) -> None:
        """Another module is shown, or the scene is closed."""


@contextmanager
def shownErrors() -> Iterator[None]:
    """Show that work is done, and what goes wrong as a sentence in place of a traceback.

    Faults of the program still raise.
    """
    ensureEngineOnPath()
    from SynthCTLib.errors import SynthCTError

    try:
        with _waitCursor():
            yield
    except (SynthCTError, RuntimeError, ValueError, OSError) as error:
        slicer.util.errorDisplay(engineText(str(error)))


@contextmanager
def _waitCursor() -> Iterator[None]:
    """As slicer.util.WaitCursor, but what the user clicks meanwhile waits for the end."""
    slicer.app.setOverrideCursor(qt.Qt.WaitCursor)
    try:
        yield
    finally:
        slicer.app.restoreOverrideCursor()


def setEnabled(widget: Any, reason: str, toolTip: str) -> None:
    """Enable a widget, or disable it with the reason as its tooltip."""
    widget.enabled = not reason
    widget.toolTip = reason or toolTip


@contextmanager
def quiet(widget: Any) -> Iterator[None]:
    """Change a widget without its signals."""
    before = widget.blockSignals(True)
    try:
        yield
    finally:
        widget.blockSignals(before)


def choose(comboBox: Any, data: Any) -> None:
    """Select the item with this data, without signals; nothing when there is none."""
    index = comboBox.findData(data)
    with quiet(comboBox):
        comboBox.setCurrentIndex(index)
