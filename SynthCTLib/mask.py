"""Any segmentation → a valid conditioning mask on the model's grid, with all that was decided on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SynthCTLib.anatomy import sparse_stride
from SynthCTLib.body import add_body, body_finding, body_from_ct
from SynthCTLib.checks import check_mask
from SynthCTLib.errors import AmbiguousInputError, InputError
from SynthCTLib.findings import Finding
from SynthCTLib.geometry import corners, resample_image, resample_labels, to_ras
from SynthCTLib.grid import plan_grid
from SynthCTLib.labels import BODY, load_vocabulary
from SynthCTLib.progress import Progress
from SynthCTLib.reading import read_image, read_segmentation
from SynthCTLib.regions import REGIONS, Region, parse_region, region_from_labels
from SynthCTLib.slabs import count_ids, occupied_box
from SynthCTLib.volume import Volume

if TYPE_CHECKING:
    from SynthCTLib.cards import ModelCard

_STAGE, _STEPS = "prepare", 4


@dataclass(frozen=True)
class PreparedMask:
    """The conditioning mask and how it came about.

    ``labels``: uint8 MAISI ids on the model's grid, axes RAS, body included. ``source_shape``, ``source_affine``: the
    input's grid as stored. ``findings`` of severity "error" forbid generation. ``how``: plain values for the report.
    """

    labels: Volume
    source_shape: tuple[int, int, int]
    source_affine: np.ndarray
    region: Region
    findings: list[Finding]
    how: dict[str, Any]


def prepare_mask(
    path: Path | str,
    card: ModelCard,
    *,
    region: Region | str | None = None,
    scheme: str | None = None,
    label_map: Path | str | Mapping[str, Any] | None = None,
    size: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
    ct: Path | str | None = None,
    progress: Progress | None = None,
) -> PreparedMask:
    """Read a segmentation and bring it into the form that the model of ``card`` needs.

    A mask that has been prepared for the same card comes out as it went in.

    Args:
        path, scheme, label_map: as in :func:`SynthCTLib.reading.read_segmentation`.
        region: body region; None: from the labels.
        size, spacing: of the model's grid (X, Y, Z); None: as :func:`SynthCTLib.grid.plan_grid` chooses.
        ct: CT of the same patient, from which the body envelope is taken if the mask has none.

    Raises:
        InputError: the segmentation cannot be used; AmbiguousInputError where the user has to choose.
    """
    progress = progress or Progress()
    progress.step(_STAGE, 0, _STEPS)
    segmentation = read_segmentation(path, scheme, label_map)
    source = to_ras(segmentation.volume)
    counts = count_ids(source.array)
    present = [int(i) for i in np.flatnonzero(counts) if i]
    progress.step(_STAGE, 1, _STEPS)

    chosen, region_from = _region(region, present)
    image = to_ras(read_image(ct)) if ct is not None and BODY not in present else None
    outline = _outline(image) if image is not None else None
    grid = plan_grid(source, card, chosen, size, spacing, outline)
    labels = resample_labels(source, grid.shape, grid.affine)
    findings = [*segmentation.notes, *grid.findings, *_lost(present, labels)]
    progress.step(_STAGE, 2, _STEPS)

    body = "given" if BODY in present else ("from ct" if image is not None else "built")
    if body != "given":
        on_grid = resample_image(image, grid.shape, grid.affine) if image is not None else None
        sampled, labels = labels, add_body(labels, on_grid)
        findings += _body_added(body, sampled)
    progress.step(_STAGE, 3, _STEPS)

    labels = labels.with_array(np.ascontiguousarray(labels.array))
    findings += check_mask(labels, chosen, card)
    how = {
        "format": segmentation.format,
        "scheme": segmentation.scheme,
        "region": {"names": list(chosen.names), "from": region_from},
        "body": body,
        "grid": {"kept": grid.kept, "size": list(grid.shape), "spacing": [round(step, 4) for step in labels.spacing]},
    }
    progress.step(_STAGE, 4, _STEPS)
    stored = segmentation.volume
    return PreparedMask(labels, stored.shape, stored.affine, chosen, findings, how)


def _region(given: Region | str | None, present: Sequence[int]) -> tuple[Region, str]:
    """The region and where it comes from: the user, the marker labels, or the one place where the labels occur."""
    if given is not None:
        return (parse_region(given) if isinstance(given, str) else given), "given"
    derived = region_from_labels(present)
    if derived is not None:
        return derived, "labels"
    vocabulary = load_vocabulary()
    sites = [vocabulary.by_id(label).regions for label in present if label != BODY]
    certain = sorted({REGIONS.index(site[0]) for site in sites if len(site) == 1})
    if certain:
        return Region(certain[0], certain[-1]), "labels"
    raise AmbiguousInputError(
        f"The labels do not tell which part of the body this is; choose the region ({', '.join(REGIONS)}, or a range).",
        "region",
        list(REGIONS),
    )


def _outline(image: Volume) -> np.ndarray | None:
    """Corners (8, 3) in RAS mm of the box around the body in a CT, from every n-th voxel; None without a body."""
    stride = sparse_stride(image.shape)
    affine = image.affine @ np.diag([*stride, 1.0])
    coarse = image.array[:: stride[0], :: stride[1], :: stride[2]]
    box = occupied_box(body_from_ct(Volume(coarse, affine)))
    return corners(*box, affine) if box is not None else None


def _lost(present: Sequence[int], labels: Volume) -> list[Finding]:
    """A warning for labels that have no voxel left. Raises InputError when nothing is left at all."""
    left = count_ids(labels.array)
    gone = [label for label in present if label != BODY and not left[label]]
    if not left[1:].any():
        raise InputError(
            "Nothing of the segmentation is left on the model's grid: its structures are smaller than a voxel "
            f"({' × '.join(f'{step:.2g}' for step in labels.spacing)} mm); choose a finer spacing or larger structures."
        )
    if not gone:
        return []
    names = ", ".join(load_vocabulary().by_id(label).display_name for label in gone)
    text = f"Too small for the model's grid, or outside it, and therefore lost: {names}."
    return [Finding("warning", "labels-lost", text, "Choose a finer spacing or enlarge them.", labels=tuple(gone))]


def _body_added(body: str, labels: Volume) -> list[Finding]:
    """What to say about an envelope that was added to ``labels``."""
    if body == "from ct":
        return [Finding("info", "body-added", "The mask had no body envelope (label 200); it was taken from the CT.")]
    text = "The mask had no body envelope (label 200); it was estimated from the labels."
    advice = "Give the CT or label the body yourself if its outline matters."
    guess = body_finding(labels)
    return [Finding("info", "body-added", text, advice, labels=(BODY,)), *([guess] if guess else [])]
