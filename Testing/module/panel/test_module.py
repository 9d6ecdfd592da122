"""The module's own self-test, its scripting example, and its sample data, run on the bench."""

from __future__ import annotations

import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import pytest

from SynthCTModule.WorkerProcess import PopenWorkerProcess
from Testing.module.bench.fake_worker import FakeFamily


@pytest.fixture
def module(application: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module file, in an empty scene, with processes that replay a recorded run."""
    import SynthCT
    import SynthCTModule.WorkerProcess

    application.start_over(tmp_path)
    monkeypatch.setattr(SynthCTModule.WorkerProcess, "SlicerWorkerProcess", FakeFamily())
    return SynthCT


def test_the_self_test_passes_without_the_engine(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import SynthCTModule.SelfTest as selfTest

    monkeypatch.setattr(selfTest, "find_spec", lambda _name: None)
    monkeypatch.setattr("SynthCTModule.WorkerProcess.SlicerWorkerProcess", PopenWorkerProcess)
    module.SynthCTTest().runTest()


def test_the_self_test_notices_a_process_that_does_not_end(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from SynthCTModule.ProcessTree import ProcessTree
    from SynthCTModule.SelfTest import secondsToEnd

    process = PopenWorkerProcess()
    with monkeypatch.context() as broken:
        broken.setattr(ProcessTree, "kill", lambda _self: None)
        with pytest.raises(RuntimeError, match="did not answer"):
            secondsToEnd(process, 3)
    assert secondsToEnd(PopenWorkerProcess()) < 2
    process.kill()
    while process.isRunning():
        process.pump()


@pytest.mark.slow
def test_the_self_test_passes_with_the_engine(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import SynthCTModule.SelfTest as selfTest

    monkeypatch.setattr(selfTest, "SlicerWorkerProcess", PopenWorkerProcess)
    monkeypatch.setattr("SynthCTModule.WorkerProcess.SlicerWorkerProcess", PopenWorkerProcess)
    own = module.SynthCTTest()
    for test in (own.test_SampleCaseBecomesCt, own.test_Cancel):  # the others say nothing about the engine
        own.setUp()
        test()


def test_the_scripting_example_of_the_documentation_works(module: Any, capsys: pytest.CaptureFixture[str]) -> None:
    example = module.SynthCTLogic.process.__doc__.split("Example::")[1].split(":param")[0]
    exec(textwrap.dedent(example), {})
    assert "CT" in capsys.readouterr().out


def test_a_script_is_told_why_a_run_could_not_start(module: Any) -> None:
    from SynthCTModule.Cases import loadCase, sampleCase

    with pytest.raises(RuntimeError, match="no model 'none'"):
        module.SynthCTLogic().process(loadCase(sampleCase()), model="none")


def test_a_script_is_told_that_a_run_is_going_on(module: Any) -> None:
    from SynthCTModule.Cases import loadCase, sampleCase

    logic, segmentation = module.SynthCTLogic(), loadCase(sampleCase())
    logic.process(segmentation)
    with pytest.raises(RuntimeError, match="going on"):
        logic.process(segmentation)
    logic.close()


def test_bundled_cases_are_offered_as_sample_data_without_network(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    offered: list[dict[str, Any]] = []
    logic = types.SimpleNamespace(registerCustomSampleDataSource=lambda **source: offered.append(source))
    monkeypatch.setitem(sys.modules, "SampleData", types.SimpleNamespace(SampleDataLogic=logic))
    module.registerSampleData()
    assert len(offered) >= 6
    assert all(source["uris"].startswith("file:") for source in offered)
    node = offered[0]["customDownloader"](None)
    assert node.GetSegmentation().GetNumberOfSegments() > 50


def test_nothing_heavy_is_imported_while_slicer_starts(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    logic = types.SimpleNamespace(registerCustomSampleDataSource=lambda **_source: None)
    monkeypatch.setitem(sys.modules, "SampleData", types.SimpleNamespace(SampleDataLogic=logic))
    for name in ("SynthCTModule.Cases", "SynthCTModule.Composition", "numpy", "scipy", "scipy.ndimage"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it now raises
    module.registerSampleData()


def test_opening_slicer_does_nothing_but_ask_to_be_called_later(module: Any, application: Any) -> None:
    parent = types.SimpleNamespace(path=module.__file__)
    application.startup.clear()
    module.SynthCT(parent)
    assert [signature for signature, _function in application.startup] == ["startupCompleted()"]
    assert parent.categories == ["Image Synthesis"]
    assert parent.dependencies == ["Segmentations", "Markups"]
    assert "not for clinical use" in parent.helpText
