"""The package: what is declared, and what is in the wheel that users get."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The wheel, built from a copy of the tracked folders, without the network."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("SynthCTLib", "training", "Resources", "pyproject.toml", "README.md", "LICENSE.txt"):
        (copy / name).symlink_to(ROOT / name)
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(target), str(copy)], check=True, timeout=300)
    (path,) = target.glob("synthct-*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope="module")
def project() -> dict:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]


@pytest.mark.slow
def test_the_wheel_holds_the_code_and_every_resource(wheel: zipfile.ZipFile) -> None:
    inside = set(wheel.namelist())
    for folder, target in (("SynthCTLib", "SynthCTLib"), ("training", "training")):
        for path in (ROOT / folder).rglob("*.py"):
            assert f"{target}/{path.relative_to(ROOT / folder).as_posix()}" in inside
    for path in (ROOT / "Resources").rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            assert f"SynthCTLib/Resources/{path.relative_to(ROOT / 'Resources').as_posix()}" in inside
    assert any(re.fullmatch(r"synthct-.*\.dist-info/licenses/LICENSE\.txt", name) for name in inside)
    assert not any(name.startswith(("Testing", "runs")) for name in inside)


@pytest.mark.slow
def test_an_installed_wheel_finds_its_resources_far_from_the_checkout(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path / "site")
    code = (
        "import json, SynthCTLib.cases, SynthCTLib.labels, SynthCTLib.cards\n"
        "print(json.dumps([SynthCTLib.__file__, str(SynthCTLib.cases.demo_case().path),\n"
        "    SynthCTLib.labels.load_vocabulary().by_id(1).name, len(SynthCTLib.cards.list_cards())]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    command = [sys.executable, "-P", "-c", code] if sys.version_info >= (3, 11) else [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    module, case, liver, cards = json.loads(done.stdout)
    assert Path(module).is_relative_to(tmp_path) and Path(case).is_relative_to(tmp_path)
    assert Path(case).is_file() and liver == "liver" and cards >= 2


def test_nothing_is_pinned_and_numpy_2_is_allowed(project: dict) -> None:
    for requirement in project["dependencies"]:
        assert "==" not in requirement and not re.search(r"numpy.*<\s*2", requirement)


def test_what_is_imported_is_declared(project: dict) -> None:
    names = {"nrrd": "pynrrd", "PIL": "pillow"}
    declared = {re.split(r"[^A-Za-z0-9-]", requirement)[0].lower() for requirement in project["dependencies"]}
    imported: set[str] = set()
    for path in (ROOT / "SynthCTLib").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        modules = re.findall(r"^\s*(?:import|from)\s+([A-Za-z_]\w*)", text, re.MULTILINE)
        imported |= {names.get(module, module).lower() for module in modules}
    foreign = {name for name in imported if name not in sys.stdlib_module_names} - {"synthctlib"}
    assert foreign and foreign <= declared


def test_the_license_is_apache_2(project: dict) -> None:
    text = (ROOT / "LICENSE.txt").read_text(encoding="utf-8")
    assert "Apache License" in text and "Version 2.0" in text and project["license"] == "Apache-2.0"


def test_bundled_cases_are_small_and_say_where_they_come_from() -> None:
    for path in (ROOT / "Resources" / "Cases").glob("*/case.json"):
        case = json.loads(path.read_text(encoding="utf-8"))
        assert (path.parent / case["file"]).stat().st_size < 1_000_000
        assert all(case[key] for key in ("licence", "citation", "source", "changes"))
