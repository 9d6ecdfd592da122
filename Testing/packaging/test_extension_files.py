"""Every file of the module, the engine and its data is named in CMake, and the installed extension works.

Slicer itself is not needed: ``slicer_stand_in`` implements the few macros that the CMake files call.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from SynthCTLib.cards import load_card
from SynthCTLib.job import DEFAULT_MODEL
from Testing.packaging.cmake_lists import MODULE, ROOT, files_on_disk, named_files

STAND_IN = Path(__file__).parent / "slicer_stand_in"


def assert_same(named: list[str], on_disk: list[str]) -> None:
    """Fail with the lines to add to or remove from the list in CMake."""
    assert len(named) == len(set(named)), "a file is named twice"
    assert not set(on_disk) - set(named), "add these files to SynthCT/CMakeLists.txt"
    assert not set(named) - set(on_disk), "remove these files from SynthCT/CMakeLists.txt"


def test_every_file_of_the_module_is_named_in_cmake() -> None:
    scripts, resources = named_files("MODULE_PYTHON_SCRIPTS"), named_files("MODULE_PYTHON_RESOURCES")
    assert "SynthCT.py" in scripts and all(name.endswith(".py") for name in scripts)
    assert {"Resources/Icons/SynthCT.png", "Resources/UI/SynthCT.ui", "Resources/requirements.txt"} <= set(resources)
    assert_same([*scripts, *resources, "CMakeLists.txt"], files_on_disk(MODULE))


@pytest.mark.parametrize(
    ("folder", "variable"), [("SynthCTLib", "ENGINE_PYTHON_SCRIPTS"), ("Resources", "ENGINE_RESOURCES")]
)
def test_every_file_of_the_engine_is_named_in_cmake(folder: str, variable: str) -> None:
    named = named_files(variable)
    assert_same(named, [f"{folder}/{name}" for name in files_on_disk(ROOT / folder)])


def test_no_file_of_the_engine_takes_the_place_of_one_of_the_module() -> None:
    module = {*named_files("MODULE_PYTHON_SCRIPTS"), *named_files("MODULE_PYTHON_RESOURCES")}
    assert not module & {*named_files("ENGINE_PYTHON_SCRIPTS"), *named_files("ENGINE_RESOURCES")}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``qt-scripted-modules`` of the extension, configured and installed into a folder with a blank and an umlaut."""
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("cmake is not installed")
    build = tmp_path_factory.mktemp("build")
    target = tmp_path_factory.mktemp("Slicer für Ärzte")
    configure = [
        cmake,
        "-S",
        str(ROOT),
        "-B",
        str(build),
        f"-DSlicer_DIR={STAND_IN}",
        f"-DCMAKE_INSTALL_PREFIX={target}",
    ]
    for command in (configure, [cmake, "--install", str(build)]):
        done = subprocess.run(command, capture_output=True, text=True)
        if "CMAKE_CXX_COMPILER" in done.stderr or "CMAKE_MAKE_PROGRAM" in done.stderr:
            pytest.skip("cmake has no compiler or build tool here")
        assert done.returncode == 0, done.stderr
    assert (build / "unittests.txt").read_text(encoding="utf-8").split() == ["SynthCT.py"]
    return target / "lib" / "Slicer-5.12" / "qt-scripted-modules"


def answer(code: str, path: Path, folder: Path) -> list:
    """JSON that ``code`` prints in a new process that sees ``path`` first and runs in ``folder``."""
    environment = {**os.environ, "PYTHONPATH": str(path), "PYTHONUTF8": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_installed_engine_finds_its_data(installed: Path, tmp_path: Path) -> None:
    code = (
        "import json, SynthCTLib, SynthCTLib.cards, SynthCTLib.cases, SynthCTLib.resources\n"
        "card = next(card for card in SynthCTLib.cards.list_cards() if card.embedded)\n"
        "files = [str(card.path.parent / file['name']) for file in card.files.values()]\n"
        "print(json.dumps([SynthCTLib.__file__, str(SynthCTLib.resources.resources_folder()),\n"
        "    str(SynthCTLib.cases.demo_case().path), *files]))\n"
    )
    found = [Path(text) for text in answer(code, installed, tmp_path)]
    assert all(path.exists() and path.is_relative_to(installed) for path in found)
    assert len(found) == 3 + len(load_card(DEFAULT_MODEL).parts) and found[1] == installed / "Resources"


@pytest.mark.parametrize("tree", ["installed extension", "source folder"])
def test_the_module_finds_the_engine(tree: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    path = request.getfixturevalue("installed") if tree == "installed extension" else MODULE
    code = (
        "import json\n"
        "from SynthCTModule.EnginePath import ensureEngineOnPath\n"
        "root = ensureEngineOnPath()\n"
        "import SynthCTLib.labels\n"
        "print(json.dumps([str(root), SynthCTLib.__file__, SynthCTLib.labels.load_vocabulary().by_id(1).name]))\n"
    )
    root, module, name = answer(code, path, tmp_path)
    expected = path if tree == "installed extension" else ROOT
    assert Path(root) == expected and Path(module).is_relative_to(expected) and name == "liver"
