"""The module opened on the bench, with processes that replay a recorded run."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from Testing.module.bench.fake_worker import FakeFamily


@pytest.fixture(scope="session")
def application(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Slicer's application as far as the bench has it; without the packages for it the tests are skipped."""
    pytest.importorskip("slicer", reason="slicer-core is missing (extra module-test)")
    reason = "PySide6 is missing (extra module-test), or a system library that it needs"
    pytest.importorskip("PySide6.QtWidgets", reason=reason, exc_type=ImportError)
    from Testing.module.bench.install import install

    return install(tmp_path_factory.mktemp("Slicer ä"))


@pytest.fixture
def family() -> FakeFamily:
    """The engine's processes of one test."""
    return FakeFamily()


@pytest.fixture
def no_tracebacks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails a test in which a slot or an observer has raised: Qt and VTK print that and go on."""
    raised: list[str] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, value, trace: raised.append(_text(kind, value, trace)))
    yield
    assert not raised, raised[0]


def _text(kind: Any, value: Any, trace: Any) -> str:
    return "".join(traceback.format_exception(kind, value, trace))


@pytest.fixture
def widget(application: Any, family: FakeFamily, tmp_path: Path, no_tracebacks: None) -> Iterator[Any]:
    """The module's widget, shown, in an empty scene."""
    from PySide6.QtCore import QCoreApplication, QEvent

    from Testing.module.bench.install import make_widget

    application.start_over(tmp_path)
    made = make_widget(family)
    family.finish()
    yield made
    made.parent.isEntered = False
    made.cleanup()
    made.parent.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


@pytest.fixture
def ui(widget: Any) -> Any:
    """The widgets by name."""
    return widget.ui


@pytest.fixture
def node(widget: Any) -> Any:
    """The parameter node."""
    return widget._parameterNode


@pytest.fixture
def chest(ui: Any, node: Any) -> Any:
    """The segmentation of the sample case, loaded with its button."""
    ui.sampleCaseButton.click()
    return node.inputNode


@pytest.fixture
def lesion(ui: Any, node: Any) -> Any:
    """The case with a lung tumor, loaded."""
    from SynthCTLib.cases import find_case

    ui.caseComboBox.setCurrentIndex(ui.caseComboBox.findText(find_case("totalseg_s0327_lung_tumor").title))
    ui.loadCaseButton.click()
    return node.inputNode


@pytest.fixture
def press(application: Any, widget: Any) -> Callable[[Any], None]:
    """Presses a button that changes the anatomy, and waits until it is changed."""

    def press(button: Any) -> None:
        button.click()
        end = time.monotonic() + 60
        while widget.logic.workbench.edits.busy:
            assert time.monotonic() < end
            application.processEvents()
            time.sleep(0.01)

    return press


@pytest.fixture
def answer(application: Any) -> Iterator[Callable[..., None]]:
    """Gives the next file dialogs their answers."""
    import qt

    qt.QFileDialog.answers.clear()
    yield lambda *paths: qt.QFileDialog.answers.extend(map(str, paths))
    qt.QFileDialog.answers.clear()


@pytest.fixture
def shown_errors(application: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sentences of error messages that would have been shown."""
    import slicer

    sentences: list[str] = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, *_more, **_options: sentences.append(text))
    return sentences
