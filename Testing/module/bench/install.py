"""Puts the stand-ins where the module imports them from."""

from __future__ import annotations

import ctypes
import os
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]


def install(temporary: Path) -> Any:
    """Make ``qt``, ``ctk`` and the desktop's parts of ``slicer`` importable; returns the application.

    Call it once per process. ``temporary``: folder for Slicer's temporary files.
    """
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    _keep_none_alive()
    from PySide6.QtCore import QSettings
    from PySide6.QtWidgets import QApplication

    qt_application = QApplication.instance() or QApplication(["bench"])
    qt_application.setOrganizationName("SynthCT bench")
    QSettings.setDefaultFormat(QSettings.Format.IniFormat)
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(temporary))
    import slicer
    import slicer.util

    from Testing.module.bench import ctk_widgets, mrml_widgets, parameter_node
    from Testing.module.bench.application import Application, make_scene
    from Testing.module.bench.pythonqt import make_qt

    custom = {**_classes(ctk_widgets, "ctk"), **_classes(mrml_widgets, "qMRML")}
    sys.modules["qt"] = make_qt(custom)
    sys.modules["ctk"] = ctk_widgets
    for name, value in _classes(mrml_widgets, "qMRML").items():
        setattr(slicer, name, value)
    application = Application(temporary)
    application.qtApplication = qt_application
    slicer.app = application
    slicer.modules = types.SimpleNamespace(synthct=types.SimpleNamespace(path=str(ROOT / "SynthCT" / "SynthCT.py")))
    make_scene(application)
    sys.modules["slicer.parameterNodeWrapper"] = parameter_node  # type: ignore[assignment]
    from Testing.module.bench import scripted_module

    sys.modules["slicer.ScriptedLoadableModule"] = scripted_module
    sys.modules["slicer.i18n"] = _translation()
    module_folder = str(ROOT / "SynthCT")
    if module_folder not in sys.path:
        sys.path.insert(0, module_folder)
    return application


def _keep_none_alive() -> None:
    """PySide6 6.12 gives None back without owning it, which ends Python before 3.12, where None is not immortal."""
    if sys.version_info < (3, 12):
        ctypes.c_ssize_t.from_address(id(None)).value += 1 << 40


def make_widget(make_process: Callable[[], Any]) -> Any:
    """The module's widget in a window, entered, with processes of the engine that ``make_process`` makes."""
    import slicer

    qt: Any = sys.modules["qt"]
    import SynthCT

    parent = slicer.qMRMLWidget()
    parent.setLayout(qt.QVBoxLayout())
    parent.isEntered = True
    widget = SynthCT.SynthCTWidget(parent)
    widget.makeLogic = lambda: SynthCT.SynthCTLogic(lambda: _with_event_loop(make_process(), widget))
    widget.setup()
    widget.enter()
    parent.show()
    return widget


def _with_event_loop(process: Any, widget: Any) -> Any:
    """A process that replays a run, after whose end Qt's timers load the results, as in Slicer."""
    from Testing.module.bench.fake_worker import FakeProcess

    if not isinstance(process, FakeProcess):
        return process
    finish = process.finish

    def finish_and_import() -> None:
        finish()
        _until_imported(widget)

    process.finish = finish_and_import  # type: ignore[method-assign]
    return process


def _until_imported(widget: Any) -> None:
    import slicer

    from SynthCTModule.RunState import RunState

    end = time.monotonic() + 60
    while widget.logic is not None and widget.logic.workbench.run.state is RunState.IMPORTING:
        assert time.monotonic() < end, "the results are not imported"
        slicer.app.processEvents()
        time.sleep(0.002)


def _classes(module: types.ModuleType, prefix: str) -> dict[str, type]:
    return {name: value for name, value in vars(module).items() if name.startswith(prefix)}


def _translation() -> types.ModuleType:
    module = types.ModuleType("slicer.i18n")
    module.tr = lambda text: text  # type: ignore[attr-defined]
    module.translate = lambda _context, text: text  # type: ignore[attr-defined]
    return module
