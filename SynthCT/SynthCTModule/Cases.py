"""Cases in Slicer: the bundled ones, a user's own, and case files, each as a segmentation node."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer

from SynthCTModule.EnginePath import ensureEngineOnPath
from SynthCTModule.LabelArray import completeLabelArray
from SynthCTModule.SegmentationExchange import importLabelmap
from SynthCTModule.Translation import _

if TYPE_CHECKING:
    from SynthCTLib.cases import Case

CASE_ATTRIBUTE = "SynthCT.CaseFolder"
"""On a segmentation: the folder of the case that it was loaded from."""


def casesFolder() -> Path:
    """Where opened case files are kept, one folder each, so that a user can see and remove them."""
    return Path(slicer.app.defaultScenePath) / "SynthCT cases"


def allCases() -> list[Case]:
    """Bundled cases, then those of the user."""
    ensureEngineOnPath()
    from SynthCTLib.cases import cases_in, list_cases

    own, _problems = cases_in(casesFolder())
    return [*list_cases(), *own]


def sampleCase() -> Case:
    """The case that the button loads."""
    ensureEngineOnPath()
    from SynthCTLib.cases import demo_case

    return demo_case()


def loadCase(case: Case) -> Any:
    """Put a case into the scene; returns its segmentation node. A second call gives a second node."""
    node = importLabelmap(case.path, name=case.title)
    node.SetAttribute(CASE_ATTRIBUTE, str(case.path.parent))
    return node


def caseOf(node: Any) -> Case | None:
    """The case that a segmentation was loaded from; None if it was not, or the case is gone."""
    folder = node.GetAttribute(CASE_ATTRIBUTE) if node is not None else None
    if not folder or not Path(folder).is_dir():
        return None
    ensureEngineOnPath()
    from SynthCTLib.cases import read_case

    return read_case(Path(folder))


def openCaseFile(path: Path) -> Case:
    """Unpack a case file into the user's cases. Raises InputError when it is none, or a case of its id is there."""
    ensureEngineOnPath()
    from SynthCTLib.case_bundle import read_case_bundle

    casesFolder().mkdir(parents=True, exist_ok=True)
    return read_case_bundle(path, casesFolder())


def saveCaseFile(node: Any, path: Path, settings: dict[str, Any]) -> Path:
    """Save a segmentation as case in one file, with the texts of the case that it came from and ``settings``.

    Returns the path, which ends in .synthct-case. Raises InputError, ResourceError, or UnknownSegments, since a segment
    that is not known would be missing in it.
    """
    ensureEngineOnPath()
    from SynthCTLib.case_bundle import save_case, write_case_bundle

    labels, affine = completeLabelArray(node)
    with tempfile.TemporaryDirectory() as folder:
        case = save_case(Path(folder), _fields(node, path, labels, settings), labels, affine)
        return write_case_bundle(case, path)


def _fields(node: Any, path: Path, labels: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """The entries of case.json: those of the case that the anatomy came from, under a new id and title."""
    from SynthCTLib.regions import region_from_labels
    from SynthCTModule.GridPlan import presentLabels

    origin = caseOf(node)
    present = presentLabels(labels)
    known = origin.to_json() if origin is not None else {}
    title = path.name.split(".")[0]
    region = region_from_labels(present)
    fields = {
        "id": re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_") or "case",
        "title": title,
        "description": known.get("description") or _("Made with SynthCT."),
        "region": str(region) if region else known.get("region", "chest"),
        "source": known.get("source") or _("Drawn by the author of this file"),
        "changes": known.get("changes") or _("None"),
        "licence": known.get("licence") or {"name": _("Not stated; ask the author of this file"), "url": ""},
        "citation": list(known.get("citation") or []),
        "learning_goals": list(known.get("learning_goals") or []),
        "clinical_text": known.get("clinical_text", ""),
        "view": _view(known, present),
        "settings": settings,
        "questions": [entry for entry in known.get("questions") or [] if entry["label"] in present],
    }
    pair = known.get("pair")
    if pair and pair["lesion"] in present:
        fields["pair"] = pair
    return fields


def _view(known: dict[str, Any], present: list[int]) -> dict[str, Any]:
    """How the case is shown, without the structure in the middle when that has gone since."""
    view = dict(known.get("view") or {})
    if view.get("center_label") not in present:
        view.pop("center_label", None)
    return view
