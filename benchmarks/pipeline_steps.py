"""The steps of the pipeline around the networks, each ready to be measured alone: see ``pipeline.py`` beside this."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.full_size import MODEL
from SynthCTLib.body import add_body, body_finding, body_from_ct
from SynthCTLib.cards import load_card
from SynthCTLib.checks import check_mask
from SynthCTLib.geometry import resample_image, resample_labels, to_ras
from SynthCTLib.grid import plan_grid
from SynthCTLib.intensity import unit_to_hu
from SynthCTLib.job import Job
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.mask import PreparedMask, prepare_mask
from SynthCTLib.organ_check import check_organs, score
from SynthCTLib.output import write_json, write_nifti
from SynthCTLib.preview import write_preview
from SynthCTLib.reading import read_image, read_segmentation
from SynthCTLib.regions import Region
from SynthCTLib.report import Attempt, ct_report
from SynthCTLib.slabs import in_file_order
from SynthCTLib.volume import Volume

REGION = Region(1, 2)
NOISE = 20.0
EVERY_JOB, INPUT_GRID, WITH_CT = "every job", "with --grid input", "with --ct"


class Folder:
    """Where one step leaves its result for the next."""

    def __init__(self, path: str, size: tuple[int, ...]) -> None:
        self.path, self.size = Path(path), size
        self.card = load_card(MODEL)
        self.segmentation, self.patient = self.path / "labels.nii.gz", self.path / "patient.nii.gz"

    def keep(self, name: str, volume: Volume) -> None:
        """Store a volume."""
        np.save(self.path / f"{name}.npy", volume.array)
        np.save(self.path / f"{name}.affine.npy", volume.affine)

    def get(self, name: str) -> Volume:
        """A stored volume."""
        return Volume(np.load(self.path / f"{name}.npy"), np.load(self.path / f"{name}.affine.npy"))


class Step(NamedTuple):
    """``start`` loads the inputs and returns the work itself; ``parts``: contained in another step."""

    name: str
    group: str
    start: Callable[[Folder], Callable[[], Any]]
    parts: bool = False


def _read(folder: Folder) -> Callable[[], Any]:
    return lambda: read_segmentation(folder.segmentation, "maisi")


def _prepare(folder: Folder) -> Callable[[], Any]:
    return lambda: prepare_mask(folder.segmentation, folder.card, region=REGION, scheme="maisi", size=folder.size)


def _plan(folder: Folder) -> Callable[[], Any]:
    source = to_ras(folder.get("source"))
    return lambda: plan_grid(source, folder.card, REGION, folder.size)


def _to_model(folder: Folder) -> Callable[[], Any]:
    source, mask = to_ras(folder.get("source")), folder.get("mask")
    return lambda: resample_labels(source, mask.shape, mask.affine)


def _body(folder: Folder) -> Callable[[], Any]:
    bare = folder.get("bare")
    return lambda: (add_body(bare), body_finding(bare))


def _checks(folder: Folder) -> Callable[[], Any]:
    mask = folder.get("mask")
    return lambda: check_mask(mask, REGION, folder.card)


def _hu(folder: Folder) -> Callable[[], Any]:
    unit, mask = folder.get("unit").array, folder.get("mask").array
    return lambda: unit_to_hu(unit, folder.card.intensity, mask)


def _organs(folder: Folder) -> Callable[[], Any]:
    hu, mask = folder.get("hu").array, folder.get("mask").array
    return lambda: check_organs(hu, mask, load_vocabulary())


def _preview(folder: Folder) -> Callable[[], Any]:
    hu, mask = folder.get("hu"), folder.get("mask")
    return lambda: write_preview(folder.path / "preview.png", hu, mask, "benchmark")


def _write(name: str) -> Callable[[Folder], Callable[[], Any]]:
    def start(folder: Folder) -> Callable[[], Any]:
        volume = folder.get(name)
        return lambda: write_nifti(folder.path / f"{name}.nii.gz", volume, "benchmark", {})

    return start


def _report(folder: Folder) -> Callable[[], Any]:
    hu, mask, card = folder.get("hu"), folder.get("mask"), folder.card
    organs = check_organs(hu.array, mask.array, load_vocabulary())
    prepared = PreparedMask(mask, folder.size, mask.affine, REGION, [], {})  # type: ignore[arg-type]
    origin = {"decode": {"reduced": False}, "model": {"sha256": {}}, "settings": {}, "device": {}}
    job, attempt = Job(folder.segmentation, folder.path), Attempt(0, score(organs), [])

    def work() -> None:
        report = ct_report(job, card, prepared, hu, {}, origin, organs, [attempt], 0)
        write_json(folder.path / "report.json", report)

    return work


def _ct_back(folder: Folder) -> Callable[[], Any]:
    hu, source = folder.get("hu"), folder.get("source")
    return lambda: resample_image(hu, source.shape, source.affine)


def _mask_back(folder: Folder) -> Callable[[], Any]:
    mask, source = folder.get("mask"), folder.get("source")
    return lambda: resample_labels(mask, source.shape, source.affine)


def _read_ct(folder: Folder) -> Callable[[], Any]:
    return lambda: read_image(folder.patient)


def _ct_to_model(folder: Folder) -> Callable[[], Any]:
    patient, mask = to_ras(folder.get("patient")), folder.get("mask")
    return lambda: resample_image(patient, mask.shape, mask.affine)


def _body_from_ct(folder: Folder) -> Callable[[], Any]:
    hu = folder.get("hu")
    on_grid = hu.with_array(hu.array.astype(np.float32))
    return lambda: body_from_ct(on_grid)


STEPS = (
    Step("mask preparation", EVERY_JOB, _prepare),
    Step("  reading the segmentation", EVERY_JOB, _read, parts=True),
    Step("  grid", EVERY_JOB, _plan, parts=True),
    Step("  resampling to the model's grid", EVERY_JOB, _to_model, parts=True),
    Step("  body envelope from the labels", EVERY_JOB, _body, parts=True),
    Step("  checks of the mask", EVERY_JOB, _checks, parts=True),
    Step("image to HU", EVERY_JOB, _hu),
    Step("organ check", EVERY_JOB, _organs),
    Step("preview", EVERY_JOB, _preview),
    Step("writing the CT", EVERY_JOB, _write("hu")),
    Step("writing the mask", EVERY_JOB, _write("mask")),
    Step("report", EVERY_JOB, _report),
    Step("CT to the segmentation's grid", INPUT_GRID, _ct_back),
    Step("mask to the segmentation's grid", INPUT_GRID, _mask_back),
    Step("writing that CT", INPUT_GRID, _write("hu_back")),
    Step("writing that mask", INPUT_GRID, _write("mask_back")),
    Step("reading a CT", WITH_CT, _read_ct),
    Step("resampling it to the model's grid", WITH_CT, _ct_to_model),
    Step("body envelope from it", WITH_CT, _body_from_ct),
)


def make_inputs(folder: str, size: tuple[int, ...], data: Path, spacing: tuple[float, ...]) -> tuple[float, None]:
    """The segmentation as a file, and what each step leaves for the next."""
    place = Folder(folder, size)
    real = to_ras(read_segmentation(data / "labels.nii.gz", "maisi").volume)
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    middle = real.affine @ [*(np.array(real.shape) - 1) / 2, 1.0]
    affine[:3, 3] = middle[:3] - affine[:3, :3] @ ((np.array(size) - 1) / 2)
    source = resample_labels(real, size, affine)
    source = source.with_array(in_file_order(source.array))
    place.keep("source", source)
    write_nifti(place.segmentation, source, "Label map, MAISI ids")
    mask = prepare_mask(place.segmentation, place.card, region=REGION, scheme="maisi", size=size).labels
    place.keep("mask", mask)
    place.keep("bare", resample_labels(to_ras(source), mask.shape, mask.affine))
    unit = mask.with_array(made_up(mask.array))
    place.keep("unit", unit)
    hu = mask.with_array(unit_to_hu(unit.array, place.card.intensity, mask.array))
    place.keep("hu", hu)
    place.keep("mask_back", resample_labels(mask, source.shape, source.affine))
    back = resample_image(hu, source.shape, source.affine)
    place.keep("hu_back", back)
    write_nifti(place.patient, back, "benchmark")
    place.keep("patient", read_image(place.patient))
    return 0.0, None


def made_up(mask: np.ndarray) -> np.ndarray:
    """(X, Y, Z) float32, as decoded: the typical HU of each label with noise, −1000 to 1000 HU as 0 to 1."""
    typical = np.zeros(256, np.float32)
    for label in load_vocabulary().labels:
        if label.hu_typical is not None:
            typical[label.id] = label.hu_typical
    random, unit = np.random.default_rng(0), np.empty(mask.shape, np.float32)
    for target, ids in zip(unit, mask, strict=True):
        target[...] = (typical[ids] + NOISE * random.standard_normal(ids.shape, np.float32) + 1000) / 2000
    return unit
