"""The rules of Slicer's Extensions Index for the catalog entry, the description and the repository."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from Testing.packaging.cmake_lists import MODULE, ROOT, project_name, quoted_value

ENTRY = ROOT / "SynthCT.json"
SCHEMA = r"https://raw\.githubusercontent\.com/Slicer/Slicer/main/Schemas/slicer-extension-catalog-entry-schema-v1\.0\.\d\.json#"
REQUIRED = {"$schema", "category", "scm_url"}
OPTIONAL = {"scm_revision", "scm_type", "build_dependencies", "build_subdirectory", "enabled", "tier"}
LIMIT_MB = 100


@pytest.fixture
def entry() -> dict:
    return json.loads(ENTRY.read_text(encoding="utf-8"))


def test_the_catalog_entry_has_the_required_keys_and_no_others(entry: dict) -> None:
    assert REQUIRED <= set(entry) <= REQUIRED | OPTIONAL
    assert re.fullmatch(SCHEMA, entry["$schema"])
    assert all(isinstance(name, str) for name in entry["build_dependencies"])
    assert b"\r" not in ENTRY.read_bytes()


def test_the_entry_the_project_and_the_module_have_one_name() -> None:
    assert project_name() == ENTRY.stem == MODULE.name == "SynthCT"
    assert not ENTRY.stem.lower().startswith("slicer")


def test_the_repository_is_called_slicer_and_the_name(entry: dict) -> None:
    url = urlsplit(entry["scm_url"])
    assert url.scheme == "https" and Path(url.path).stem == f"Slicer{ENTRY.stem}"
    assert quoted_value("EXTENSION_HOMEPAGE") == entry["scm_url"]


def test_entry_and_cmake_agree(entry: dict) -> None:
    assert entry["category"] == quoted_value("EXTENSION_CATEGORY") == "Image Synthesis"
    assert entry["build_dependencies"] == quoted_value("EXTENSION_DEPENDS").split() == ["PyTorch"]


def test_the_description_is_for_people_and_says_what_the_result_is_not() -> None:
    description = quoted_value("EXTENSION_DESCRIPTION")
    assert 80 < len(description) < 400 and ";" not in description
    assert "not a patient, not for clinical use" in description
    assert quoted_value("EXTENSION_CONTRIBUTORS")


@pytest.mark.parametrize(("name", "least"), [("EXTENSION_ICONURL", 1), ("EXTENSION_SCREENSHOTURLS", 2)])
def test_pictures_are_raw_urls_of_files_in_this_repository(entry: dict, name: str, least: int) -> None:
    urls = quoted_value(name).split()
    assert len(urls) >= least
    base = entry["scm_url"].replace("https://github.com/", "https://raw.githubusercontent.com/")
    for url in urls:
        assert url.startswith(f"{base}/{entry['scm_revision']}/")
        assert (ROOT / url.removeprefix(f"{base}/{entry['scm_revision']}/")).is_file()


def test_the_icon_is_128_pixels_wide_and_high() -> None:
    with Image.open(MODULE / "Resources" / "Icons" / "SynthCT.png") as icon:
        assert icon.format == "PNG" and icon.size == (128, 128)


def test_the_license_is_in_the_root_and_named_on_the_home_page() -> None:
    assert (ROOT / "LICENSE.txt").is_file()
    assert "Apache-2.0" in (ROOT / "README.md").read_text(encoding="utf-8")


def git(repository: Path, *arguments: str, given: str = "") -> bytes:
    command = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org"]
    command += ["-c", "commit.gpgsign=false", *arguments]
    return subprocess.run(command, cwd=repository, input=given.encode(), capture_output=True, check=True).stdout


def bytes_of_a_clone(repository: Path) -> int:
    """Size of a new clone: the history of HEAD as git sends it, and the files checked out.

    The folder ``.git`` is no measure: it may hold an object twice, or objects that no commit names.
    """
    history = len(git(repository, "pack-objects", "--revs", "--stdout", "-q", given="HEAD\n"))
    names = [name for name in git(repository, "ls-files", "-z").decode().split("\0") if name]
    return history + sum((repository / name).stat().st_size for name in names if (repository / name).is_file())


needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@needs_git
def test_a_clone_with_its_history_stays_below_the_limit() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git clone")
    assert 0 < bytes_of_a_clone(ROOT) < LIMIT_MB * 1024**2


@needs_git
def test_the_size_of_a_clone_counts_each_version_of_a_file_once(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    contents = [random.Random(seed).randbytes(100_000) for seed in (1, 2)]  # nothing that compression makes smaller
    for content in contents:
        (tmp_path / "weights").write_bytes(content)
        git(tmp_path, "add", "weights")
        git(tmp_path, "commit", "-qm", "A version")
    size = bytes_of_a_clone(tmp_path)
    assert 300_000 < size < 303_000  # two versions in the history, one checked out

    git(tmp_path, "repack", "-q", "-a")  # without -d: each object is in the pack and beside it now
    git(tmp_path, "hash-object", "-w", "--stdin", given="never committed" * 1000)
    assert bytes_of_a_clone(tmp_path) == pytest.approx(size, abs=500)
