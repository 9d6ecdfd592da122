"""The parts of a running Slicer that slicer-core lacks: application, layout, module logics, a scene with singletons."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import slicer
import vtk
from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication

_VIEWS = ("Red", "Yellow", "Green")


class _SliceWidget:
    def __init__(self, logic: Any, node: Any) -> None:
        self._logic, self._node = logic, node

    def sliceLogic(self) -> Any:
        return self._logic

    def mrmlSliceNode(self) -> Any:
        return self._node


class LayoutManager:
    """Three slice views without windows."""

    def __init__(self, application_logic: Any) -> None:
        self.layout = 0
        self._application_logic = application_logic

    def sliceViewNames(self) -> tuple[str, ...]:
        """Names of the slice views."""
        return _VIEWS

    def sliceWidget(self, name: str) -> _SliceWidget:
        """A slice view by name."""
        node = slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{name}")
        return _SliceWidget(self._application_logic.GetSliceLogic(node), node)

    def mrmlSliceLogics(self) -> Any:
        """All slice logics."""
        return self._application_logic.GetSliceLogics()

    def setLayout(self, layout: int) -> None:
        """Remembers the layout."""
        self.layout = layout

    @property
    def threeDViewCount(self) -> int:
        """There are no 3D views."""
        return 0


class ModuleManager:
    """Nothing is unloaded."""

    def connect(self, _signature: str, _function: Any) -> bool:
        """Accepted, never called."""
        return True

    disconnect = connect


class Application:
    """``slicer.app``."""

    applicationName = "SlicerBench"
    temporaryPath = ""

    def __init__(self, temporary: Path) -> None:
        self.temporaryPath = self.defaultScenePath = str(temporary)
        self.applicationLogic_ = slicer.vtkMRMLApplicationLogic()
        self._layout = LayoutManager(self.applicationLogic_)
        self._modules = ModuleManager()
        self.startup: list[Any] = []

    def start_over(self, temporary: Path) -> None:
        """An empty scene, another folder for temporary files and no settings, as when Slicer is started anew."""
        self.temporaryPath = self.defaultScenePath = str(temporary)
        slicer.mrmlScene.Clear(0)
        QSettings().clear()

    def connect(self, signature: str, function: Any) -> bool:
        """``startupCompleted()`` and ``aboutToQuit()`` are remembered for tests to call."""
        self.startup.append((signature, function))
        return True

    def disconnect(self, _signature: str, _function: Any) -> bool:
        """Nothing to undo."""
        return True

    def testingEnabled(self) -> bool:
        """Always testing, so that no message box opens."""
        return True

    def topLevelWidgets(self) -> list[Any]:
        """There is no main window."""
        return []

    def layoutManager(self) -> LayoutManager:
        """The three slice views."""
        return self._layout

    def moduleManager(self) -> ModuleManager:
        """For the signal of unloading."""
        return self._modules

    def applicationLogic(self) -> Any:
        """MRML's application logic."""
        return self.applicationLogic_

    def clipboard(self) -> Any:
        """Qt's clipboard."""
        return QApplication.clipboard()

    def processEvents(self) -> None:
        """Let Qt work."""
        QApplication.processEvents()

    def setOverrideCursor(self, _cursor: Any) -> None:
        """No cursor here."""

    def restoreOverrideCursor(self) -> None:
        """No cursor here."""

    def translate(self, _context: str, text: str) -> str:
        """English stays."""
        return text


def make_scene(application: Application) -> Any:
    """A scene with the singletons and module logics that Slicer has after starting; sets ``slicer.mrmlScene``."""
    scene = slicer.vtkMRMLScene()
    slicer.mrmlScene = scene
    logic = application.applicationLogic_
    logic.SetMRMLScene(scene)
    logics = {
        "subjecthierarchy": slicer.vtkSlicerSubjectHierarchyModuleLogic(),
        "terminologies": slicer.vtkSlicerTerminologiesModuleLogic(),
        "segmentations": slicer.vtkSlicerSegmentationsModuleLogic(),
        "volumes": slicer.vtkSlicerVolumesLogic(),
        "colors": slicer.vtkSlicerColorLogic(),
        "volumerendering": slicer.vtkSlicerVolumeRenderingLogic(),
        "markups": slicer.vtkSlicerMarkupsLogic(),
    }
    # Slicer's own terminologies and colors are not in slicer-core; its logics complain about that.
    vtk.vtkObject.GlobalWarningDisplayOff()
    for name, module_logic in logics.items():
        if hasattr(module_logic, "SetMRMLApplicationLogic"):
            module_logic.SetMRMLApplicationLogic(logic)
        module_logic.SetMRMLScene(scene)
        logic.SetModuleLogic(name.capitalize(), module_logic)
        setattr(slicer.modules, name, types.SimpleNamespace(logic=lambda found=module_logic: found))
    vtk.vtkObject.GlobalWarningDisplayOn()
    for view in _VIEWS:
        _add_slice_view(scene, logic, view)
    return scene


def _add_slice_view(scene: Any, application_logic: Any, view: str) -> None:
    node = slicer.vtkMRMLSliceNode()
    node.SetName(view)
    node.SetLayoutName(view)
    node.SetSingletonTag(view)
    node = scene.AddNode(node)
    composite = slicer.vtkMRMLSliceCompositeNode()
    composite.SetLayoutName(view)
    composite.SetSingletonTag(view)
    composite = scene.AddNode(composite)
    logics = application_logic.GetSliceLogics() or vtk.vtkCollection()
    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLApplicationLogic(application_logic)
    logic.SetMRMLScene(scene)
    logic.SetSliceNode(node)
    logics.AddItem(logic)
    application_logic.SetSliceLogics(logics)
