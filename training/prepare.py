"""Stage *prepare*: CT volumes of any source become RAS int16 arrays in HU, which later stages read without decoding.

Each case is read, checked (:mod:`training.checks`), put on its grid and written; a case that cannot be used is listed
with the reason. Output: ``<out>/<case_id>/ct.npy``, ``labels.npy``, ``labels_extra.npy`` and ``<out>/cases.json`` with
spacing, region, split, licence, findings, SHA-256 of every file and of the whole, and what was left out. A run that was
stopped goes on: a case whose files and settings have not changed is not read again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from SynthCTLib.errors import InputError
from SynthCTLib.findings import Finding
from SynthCTLib.geometry import resample_labels, same_grid, to_ras
from SynthCTLib.regions import REGIONS, region_from_labels
from SynthCTLib.volume import Volume
from training.checks import check_grid, check_labels, check_spread, check_values, limits
from training.config import Config
from training.files import write_json
from training.intensities import family_of
from training.model_conditions import MODALITY_CLASSES
from training.recipes import with_recipe
from training.regrid import AIR, regrid, straighten
from training.settings import read_top_level, require_keys
from training.sources.case import Case, LeftOut
from training.sources.together import find_all
from training.split import split_patients

MANY_LABELS = 20
"""Labels from which a case counts as richly labeled."""
PRINTED = {
    "labels-unusable",
    "labels-elsewhere",
    "unknown-structures",
    "orientation",
    "missing-orientation",
    "no-region",
}
"""Findings that change what a case is good for; the others are in ``cases.json`` only."""


class Unusable(Exception):
    """A case that must be left out; the text is the reason."""


def prepare(config: Config) -> None:
    """Convert every usable case of the config's sources and list the ones left out with the reason.

    The config has ``source`` and ``data`` (settings of :mod:`training.sources`; without it, a folder with a manifest),
    or ``sources``, a list of such settings with a ``path`` each; ``prepared``, ``splits``, ``split``, ``exclude``,
    ``checks``. Raises InputError where one of these is missing or wrong, and where no case could be used.
    """
    if not config.get("sources"):
        require_keys(config, "source")
    require_keys(config, "prepared")
    config = read_top_level(config, "prepare")
    out = Path(config["prepared"])
    out.mkdir(parents=True, exist_ok=True)
    limit = limits(config["checks"])
    found = find_all(_sources(config))
    splits = _splits([item for item, _ in found if isinstance(item, Case)], config)
    kept: list[dict] = []
    left_out: list[dict] = []
    for number, (item, settings) in enumerate(found, 1):
        reason = item.reason if isinstance(item, LeftOut) else _not_wanted(item.case_id, splits[item.patient], config)
        if isinstance(item, Case) and reason is None:
            try:
                entry = _prepare_case(item, settings, limit, out)
                kept.append({**entry, "split": splits[item.patient]})
            except (InputError, Unusable) as error:
                reason = str(error)
        if reason is not None:
            left_out.append({"case_id": item.case_id, "reason": reason})
        print(f"{number}/{len(found)} {item.case_id}: {reason or 'prepared'}", flush=True)
    write_json(out / "cases.json", {"hash": content_hash(kept), "cases": kept, "left_out": left_out})
    _summarize(kept, left_out, out)
    if not kept:
        raise InputError(f"No case could be used; the reasons are in {out / 'cases.json'}.")


def read_cases(prepared: Path, split: str) -> list[dict]:
    """Cases of one split, as written by :func:`prepare`. Raises InputError where nothing is prepared yet."""
    path = Path(prepared) / "cases.json"
    if not path.is_file():
        raise InputError(f"There are no prepared cases in {prepared} yet: run the stage 'prepare' first.")
    cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
    return [case for case in cases if case["split"] == split]


def content_hash(cases: list[dict]) -> str:
    """SHA-256 over ids, splits and file contents, whatever the order: the same data has the same hash everywhere."""
    lines = sorted(json.dumps([case["case_id"], case["split"], case["files"]], sort_keys=True) for case in cases)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _sources(config: Config) -> list[Config]:
    """Settings of each source, its recipe included, ``path`` as a Path. Raises InputError for an unknown modality."""
    listed = config.get("sources") or [{**config["data"], "path": config["source"]}]
    sources = [{**with_recipe(settings), "path": Path(settings["path"])} for settings in listed]
    for settings in sources:
        _modality(settings)
    return sources


def _splits(cases: list[Case], config: Config) -> dict[str, str]:
    """Patient → split: what the data set says, unless the config does not keep it; else by hash."""
    rule = config["split"]
    given: dict[str, str] = {}
    if rule.get("keep", True):
        for case in cases:
            if case.split is not None and given.setdefault(case.patient, case.split) != case.split:
                raise InputError(f"The data set puts patient {case.patient} into two splits; correct its list.")
    open_patients = {case.patient for case in cases} - set(given)
    if not open_patients:
        return given
    fractions = {name: float(share) for name, share in rule.items() if name not in ("seed", "keep")}
    return {**given, **split_patients(open_patients, fractions, int(rule.get("seed", 0)))}


def _not_wanted(case_id: str, split: str, config: Config) -> str | None:
    excluded = config["exclude"].get(case_id)
    if excluded is None and split not in config["splits"]:
        return f"split {split} is not used"
    return excluded


def _prepare_case(case: Case, settings: Config, limit: dict[str, float], out: Path) -> dict:
    """The entry of a case in ``cases.json``; its arrays are written if they are not there yet."""
    folder = out / case.case_id
    state = _fingerprint(case, settings, limit)
    entry = _finished(folder, state)
    if entry is None:
        image, labels, extra, notes = _convert(case, settings, limit)
        files = _write(folder, {_modality(settings): image.array, "labels": labels, "labels_extra": extra})
        entry = _entry(case, image, labels, notes, files)
        write_json(folder / "case.json", {"state": state, "entry": entry})
    return entry


def _convert(
    case: Case, settings: Config, limit: dict[str, float]
) -> tuple[Volume, np.ndarray | None, np.ndarray | None, list[Finding]]:
    """(int16 HU, or float32 of MR, on the final grid, labels, extra labels, findings). Raises InputError, Unusable."""
    reading = case.read()
    notes = list(reading.notes)
    image = to_ras(reading.image)
    is_ct = _modality(settings) == "ct"
    notes += [*(check_values if is_ct else check_spread)(image.array), *check_grid(image, limit)]
    if not case.trusted:
        _refuse(notes)
    if is_ct:
        image = image.with_array(np.clip(image.array, -1024, 3071))
    else:
        image = image.with_array(image.array.astype(np.float32))
    upright = straighten(image)
    if upright is not image:
        notes.append(Finding("warning", "gantry-tilt", "Its slices are tilted; it was resampled to upright axes."))
    maps = [_on_grid(volume, upright, notes) for volume in (reading.labels, reading.extra)]
    if maps[0] is not None:
        notes += check_labels(maps[0])
    if settings.get("transform"):
        upright, maps = regrid(upright, maps, settings["transform"], AIR if is_ct else float(image.array.min()))
    values = np.rint(upright.array).astype(np.int16) if is_ct else upright.array
    labels, extra = (None if volume is None else volume.array.astype(np.uint8) for volume in maps)
    return upright.with_array(values), labels, extra, notes


def _modality(settings: Config) -> str:
    """``ct`` or ``mr`` of the source's images. Raises InputError for a modality that no model can be told."""
    stated = str(settings.get("modality", "ct")).lower()
    family = family_of(stated)
    if family is None or stated not in MODALITY_CLASSES:
        known = ", ".join(name for name in MODALITY_CLASSES if family_of(name))
        raise InputError(f"There is no modality '{stated}' here; use one of {known}.")
    return family


def _refuse(notes: list[Finding]) -> None:
    errors = [finding.sentence() for finding in notes if finding.severity == "error"]
    if errors:
        raise Unusable(" ".join(errors))


def _on_grid(labels: Volume | None, image: Volume, notes: list[Finding]) -> Volume | None:
    """The labels on the grid of the image; a finding where they had another one or lie elsewhere."""
    if labels is None:
        return None
    upright = to_ras(labels)
    if same_grid(upright, image.shape, image.affine):
        return upright
    moved = resample_labels(upright, image.shape, image.affine)
    if upright.array.any() and not moved.array.any():
        notes.append(Finding("warning", "labels-elsewhere", "Its labels lie outside of the image and were not used."))
        return None
    notes.append(Finding("info", "labels-resampled", "Its labels have another grid and were resampled (nearest)."))
    return moved


def _entry(case: Case, image: Volume, labels: np.ndarray | None, notes: list[Finding], files: dict) -> dict:
    ids = [] if labels is None else [int(i) for i in np.unique(labels) if i]
    region = list(case.region) if case.trusted else _region(case.region, ids)
    if not region:
        text = "Nothing says which part of the body it shows."
        notes = [*notes, Finding("warning", "no-region", text, "Give 'region' in the config.")]
    return {
        "case_id": case.case_id,
        "patient": case.patient,
        "region": region,
        "shape": list(image.shape),
        "spacing": list(image.spacing),
        "affine": image.affine.tolist(),
        "has_many_organ_labels": len(ids) >= MANY_LABELS,
        "label_ids": ids,
        **case.facts,
        "findings": [{"code": finding.code, "text": finding.sentence()} for finding in notes],
        "files": files,
    }


def _region(stated: tuple[str, ...], ids: list[int]) -> list[str]:
    """Regions from head to pelvis: what is stated, and what the labels show."""
    shown = region_from_labels(ids)
    names = {*stated, *(shown.names if shown else ())}
    unknown = names - set(REGIONS)
    if unknown:
        raise InputError(f"'{sorted(unknown)[0]}' is no body region; use {', '.join(REGIONS)}.")
    return [name for name in REGIONS if name in names]


def _fingerprint(case: Case, settings: Config, limit: dict[str, float]) -> str:
    """Changes when the files, the settings or the way of preparing change."""
    files = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in case.files]
    facts = [case.case_id, case.patient, case.region, case.facts]
    text = json.dumps([1, files, facts, settings, limit], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _finished(folder: Path, state: str) -> dict[str, Any] | None:
    """The entry of a case that was prepared from the same files and settings, else None."""
    try:
        written = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    entry = written["entry"]
    complete = all((folder / name).is_file() for name in entry["files"])
    return entry if written["state"] == state and complete else None


def _write(folder: Path, arrays: dict[str, np.ndarray | None]) -> dict[str, str]:
    """Write the arrays that exist, take away those of an earlier run, and return file name → SHA-256."""
    folder.mkdir(exist_ok=True)
    (folder / "case.json").unlink(missing_ok=True)
    sums = {}
    for name, array in arrays.items():
        path = folder / f"{name}.npy"
        if array is None:
            path.unlink(missing_ok=True)
            continue
        part = folder / f"{name}.npy.part"
        with part.open("wb") as handle:
            np.save(handle, array)
        with part.open("rb") as handle:
            sums[path.name] = hashlib.sha256(handle.read()).hexdigest()
        part.replace(path)
    return sums


def _summarize(kept: list[dict], left_out: list[dict], out: Path) -> None:
    counts = {split: sum(case["split"] == split for case in kept) for split in dict.fromkeys(c["split"] for c in kept)}
    told = ", ".join(f"{count} {split}" for split, count in counts.items())
    print(f"prepared {len(kept)} cases in {out} ({told}); left out {len(left_out)}")
    for case in kept:
        for finding in case["findings"]:
            if finding["code"] in PRINTED:
                print(f"  {case['case_id']}: {finding['text']}")
