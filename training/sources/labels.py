"""Labels as files have them → ids of the vocabulary. What has no place there is left unlabeled and named in a finding.

0 means *not labeled*, never *background*. The body envelope (200) is taken out: it is what remains beside the organs,
and the stage *label* finds it in the CT.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from SynthCTLib.compose import Composer
from SynthCTLib.errors import InputError
from SynthCTLib.findings import Finding
from SynthCTLib.labels import BODY, load_vocabulary
from SynthCTLib.reading import read_segmentation
from SynthCTLib.reading_folder import mask_files, read_folder, stem
from SynthCTLib.schemes import read_label_map
from SynthCTLib.volume import Volume

EMPTY_MAP = {"background": None}


def label_ids(names: Iterable[str], label_map: Mapping[str, Any] | None = None) -> tuple[dict[str, int], list[Finding]]:
    """(name → id, 0 where unknown; one warning that lists the unknown names). The map comes first."""
    vocabulary = load_vocabulary()
    given = read_label_map(label_map or EMPTY_MAP, vocabulary)
    ids: dict[str, int] = {}
    unknown = []
    for name in names:
        if name in given:
            ids[name] = given[name]
            continue
        try:
            label = vocabulary.find(name)
        except InputError:
            label = None
        if label is None or label.dummy:
            unknown.append(name)
        ids[name] = 0 if label is None or label.dummy else label.id
    return ids, [unknown_names(unknown)] if unknown else []


def unknown_names(names: list[str]) -> Finding:
    """The warning for structures that the vocabulary does not have."""
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return Finding(
        "warning",
        "unknown-structures",
        f"Left unlabeled, since the vocabulary has no such name: {shown}.",
        "Name a label for each (or null) under 'labels' in the config.",
    )


def read_labels(
    path: Path, label_map: Mapping[str, Any] | None, scheme: str | None
) -> tuple[Volume | None, list[Finding]]:
    """A label map, a Slicer segmentation or a folder of masks as (uint8 ids or None, findings); never raises.

    An image is worth keeping without its labels, so that what is wrong with them becomes a warning.
    """
    try:
        if path.is_dir():
            ids, notes = label_ids([stem(file) for file in mask_files(path)], label_map)
            if ids and not any(ids.values()):
                return None, notes
            volume, more = read_folder(path, load_vocabulary(), lambda stems: {name: ids[name] for name in stems})
            return without_body(volume), notes + more
        segmentation = read_segmentation(path, scheme, label_map or None)
    except InputError as error:
        return None, [labels_unusable(str(error))]
    return without_body(segmentation.volume), segmentation.notes


def labels_unusable(reason: str) -> Finding:
    """The warning for labels that could not be read, whose image is used without them."""
    return Finding("warning", "labels-unusable", f"The labels were not used: {reason}")


def without_body(labels: Volume) -> Volume:
    """The same labels, the body envelope as unlabeled."""
    return labels.with_array(np.where(labels.array == BODY, 0, labels.array).astype(np.uint8))


def compose(masks: Iterable[tuple[int, np.ndarray]], affine: np.ndarray) -> tuple[Volume | None, list[Finding]]:
    """One label map (uint8) of (id, bool mask of one shape); None without a labeled voxel."""
    composer: Composer | None = None
    for label, mask in masks:
        if composer is None:
            composer = Composer(mask.shape, load_vocabulary())
        composer.add(partial(_ids, mask, label))
    if composer is None or not composer.array.any():
        return None, []
    return without_body(Volume(composer.array, affine)), composer.overlaps()


def _ids(mask: np.ndarray, label: int, part: slice) -> np.ndarray:
    return mask[:, :, part].astype(np.uint8) * np.uint8(label)
