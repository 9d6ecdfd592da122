"""Student mode: what names a structure or an illness is hidden, and comes back as it was."""

from __future__ import annotations

from typing import Any

import slicer

from SynthCTModule.Overlays import hideOverlays, showOverlays

_STUDENT = "student"
_HIDDEN = (
    "anatomyCollapsibleButton",
    "caption64",
    "resultSelector",
    "caption71",
    "compareSelector",
    "compareButton",
    "logGroupBox",
)
"""Widgets with names: case, its texts, structures and editor; results by name; the log with what checks have found."""


class StudentMode:
    """ui: the widgets of the panel by name."""

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self.isOn = False
        self._probeWasVisible = self._annotationsWereOn = False

    def switch(self, on: bool) -> None:
        """Hide all overlays, names in the views and in the panel, or show again what was hidden here."""
        if on != self.isOn:
            self.isOn = on
            for name in _HIDDEN:
                getattr(self._ui, name).visible = not on
            self._switchViews(on)
        self.refresh()

    def refresh(self) -> None:
        """Hide overlays that have come since."""
        (hideOverlays if self.isOn else showOverlays)(_STUDENT)

    def _switchViews(self, on: bool) -> None:
        if slicer.app.layoutManager() is None:  # Slicer is closing
            return
        probe, annotations = _dataProbe(), _cornerAnnotations()
        if on:
            self._probeWasVisible = probe is not None and probe.visible
            self._annotationsWereOn = annotations is not None and bool(annotations.sliceViewAnnotationsEnabled)
        if probe is not None and self._probeWasVisible:
            probe.visible = not on
        if annotations is None or not self._annotationsWereOn:
            return
        annotations.sliceViewAnnotationsEnabled = int(not on)
        if on:
            _clearCorners()
        else:
            annotations.updateSliceViewFromGUI()


def _dataProbe() -> Any:
    window = slicer.util.mainWindow()
    if window is None:
        return None
    return next(iter(slicer.util.findChildren(window, name="DataProbeCollapsibleWidget")), None)


def _cornerAnnotations() -> Any:
    """What writes the names of volumes into the corners of the slice views; None where Slicer has no window."""
    instance = getattr(slicer.modules, "DataProbeInstance", None)
    widget = getattr(instance, "infoWidget", None)
    return getattr(widget, "sliceAnnotations", None)


def _clearCorners() -> None:
    """Once they are off, Slicer leaves the last text where it is."""
    manager = slicer.app.layoutManager()
    for name in manager.sliceViewNames():
        view = manager.sliceWidget(name).sliceView()
        view.cornerAnnotation().ClearAllTexts()
        view.scheduleRender()
