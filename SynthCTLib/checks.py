"""Contradictions in a mask, and what the model cannot do well, said in words before anything is computed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from SynthCTLib.anatomy import LabelPlace, Relation, label_places, relations
from SynthCTLib.findings import Finding
from SynthCTLib.grid import AXES, axis_rules
from SynthCTLib.labels import BODY, load_vocabulary
from SynthCTLib.regions import REGIONS, Region, region_from_labels
from SynthCTLib.volume import Volume

if TYPE_CHECKING:
    from SynthCTLib.cards import ModelCard

# Lesions of fewer voxels vanish in the CT (4³ voxels become one latent voxel).
TINY_VOXELS = 7
# Centers closer than this on the left-right axis say nothing about sides.
_MIDLINE_MM = 10.0
# A field of view this share outside the range seen in training is worth a warning.
_FOV_TOLERANCE = 0.1


def check_mask(labels: Volume, region: Region, card: ModelCard) -> list[Finding]:
    """Check a mask on the model's grid (uint8 MAISI ids, axes RAS) against anatomy and against the model card.

    Errors mean that no usable CT can come out; warnings say what will probably be wrong; both say what to do.
    """
    places = label_places(labels)
    known = {label: place for label, place in places.items() if label in _usable_ids()}
    return [
        *_ids(places),
        *_body(places),
        *_grid(labels, card),
        *_field_of_view(labels, places, card),
        *_region(known, region),
        *_sides(known),
        *_heights(known),
        *_training(known, region, card),
        *_tiny(known),
    ]


def _usable_ids() -> set[int]:
    return {label.id for label in load_vocabulary().labels if not label.dummy}


def _ids(places: Mapping[int, LabelPlace]) -> list[Finding]:
    if not places:
        return [
            Finding("error", "empty", "The mask has no labels.", "Check that the segmentation was exported completely.")
        ]
    wrong = sorted(set(places) - _usable_ids())
    if not wrong:
        return []
    text = f"The mask holds ids that mean nothing to the model: {', '.join(map(str, wrong))}."
    return [Finding("error", "unknown-labels", text, "Remove them or map them to labels.", "drop-labels", tuple(wrong))]


def _body(places: Mapping[int, LabelPlace]) -> list[Finding]:
    if BODY not in places:
        text = "The mask has no body envelope (label 200), without which the image is unusable."
        return [
            Finding("error", "no-body", text, "Add the body envelope; preparing the mask does it.", "add-body", (BODY,))
        ]
    if len(places) == 1:
        text = "The mask holds nothing but the body envelope, so the organs are left to chance."
        return [Finding("warning", "only-body", text, "Label the organs that matter.", labels=(BODY,))]
    return []


def _grid(labels: Volume, card: ModelCard) -> list[Finding]:
    found = []
    for axis, (rule, name) in enumerate(zip(axis_rules(card.grid), AXES, strict=True)):
        size, step = labels.shape[axis], labels.spacing[axis]
        if size not in rule.sizes:
            allowed = ", ".join(map(str, rule.sizes))
            text = f"The model cannot make {size} voxels {name}; it allows {allowed}."
            found.append(Finding("error", "size-not-allowed", text, "Prepare the mask for this model.", "resample"))
        elif not rule.allows(size, step):
            text = f"The spacing {name} is {step:.2f} mm; the model was trained for {rule.low:g} to {rule.high:g} mm."
            if step > rule.high:
                advice = f"Cut the segmentation to {rule.sizes[-1] * rule.high:.0f} mm or less in this direction."
            else:
                advice = "Choose a coarser spacing."
            found.append(Finding("warning", "spacing-outside", text, advice))
    least, width = card.grid.get("fov_xy_min", 0), min(labels.shape[a] * labels.spacing[a] for a in (0, 1))
    if width < least - 1e-2:
        text = f"The slices are {width:.0f} mm wide; the model needs at least {least:g} mm."
        found.append(Finding("warning", "fov-too-small", text, "Choose a larger size or a coarser spacing."))
    return found


def _field_of_view(labels: Volume, places: Mapping[int, LabelPlace], card: ModelCard) -> list[Finding]:
    """The grid must not be far larger or smaller than in training; along the body the labeled part counts."""
    ranges = card.trained_on.get("fov_mm")
    if not ranges or not places:
        return []
    found = []
    for axis, ((low, high), name) in enumerate(zip(ranges, AXES, strict=True)):
        whole = labels.shape[axis] * labels.spacing[axis]
        first, last = (fn(getattr(p, end)[axis] for p in places.values()) for fn, end in ((min, "low"), (max, "high")))
        shown = (last - first + 1) * labels.spacing[axis] if axis == 2 else whole
        if whole > high * (1 + _FOV_TOLERANCE):
            text = f"The field of view {name} is {whole:.0f} mm; the model has seen {low:.0f} to {high:.0f} mm."
            found.append(Finding("warning", "fov-outside", text, "Cut the segmentation to the part that matters."))
        elif shown < low * (1 - _FOV_TOLERANCE):
            text = f"Only {shown:.0f} mm are shown {name}; the model has seen {low:.0f} to {high:.0f} mm."
            found.append(Finding("warning", "fov-outside", text, "Give a segmentation that shows more of the body."))
    return found


def _region(places: Mapping[int, LabelPlace], region: Region) -> list[Finding]:
    vocabulary = load_vocabulary()
    spans = {
        label: [REGIONS.index(name) for name in vocabulary.by_id(label).regions] for label in places if label != BODY
    }
    far = [
        label for label, span in spans.items() if span and (min(span) > region.bottom + 1 or max(span) < region.top - 1)
    ]
    if far:
        text = f"{_names(far)} cannot be in an image of the {_phrase(region.names)}."
        advice = f"Choose the region that fits ({_suggest(places)}), or remove what does not belong."
        return [Finding("warning", "region-contradiction", text, advice, labels=tuple(far))]
    empty = [i for i in range(region.top, region.bottom + 1) if spans and not any(i in span for span in spans.values())]
    if empty:
        text = f"No label belongs to the {_phrase([REGIONS[i] for i in empty])}, although the region is {region}."
        return [
            Finding(
                "warning", "region-gap", text, f"Choose the region that fits ({_suggest(places)}), or add the labels."
            )
        ]
    derived = region_from_labels(places)
    if derived is not None and derived != region:
        text = f"The region is {region}; the labels suggest {derived}."
        return [Finding("info", "region-differs", text, "Leave the region out to take it from the labels.")]
    return []


def _sides(places: Mapping[int, LabelPlace]) -> list[Finding]:
    def offset(relation: Relation) -> float:
        return abs(places[relation.first].centroid[0] - places[relation.second].centroid[0])

    sides = [r for r in relations(places) if r.kind == "side" and offset(r) > _MIDLINE_MM]
    wrong = [r for r in sides if not r.holds]
    if not wrong:
        return []
    if 2 * len(wrong) > len(sides):
        first = max(wrong, key=lambda r: (_are_pair(r), places[r.first].voxels + places[r.second].voxels))
        text = f"Left and right look swapped: {_names([first.first])} lies on the right of {_names([first.second])}."
        advice = "Check the orientation stored in the file, or the label names, and flip the segmentation."
        return [Finding("warning", "left-right-swapped", text, advice, labels=(first.first, first.second))]
    pairs = [r for r in wrong if _are_pair(r)]
    text = "Labels lie on the wrong side: {}."
    listed = ", ".join(f"{_names([r.first])} on the right of {_names([r.second])}" for r in pairs[:4])
    if not pairs:
        return []
    labels = tuple(sorted({i for r in pairs for i in (r.first, r.second)}))
    return [
        Finding(
            "warning",
            "side-conflict",
            text.format(listed),
            "Exchange their labels if they were mixed up.",
            labels=labels,
        )
    ]


def _heights(places: Mapping[int, LabelPlace]) -> list[Finding]:
    heights = [r for r in relations(places) if r.kind == "height"]
    wrong = [r for r in heights if not r.holds]
    if not wrong:
        return []
    examples = ", ".join(f"{_names([r.first])} lies below {_names([r.second])}" for r in wrong[:3])
    labels = tuple(sorted({i for r in wrong for i in (r.first, r.second)}))
    if 2 * len(wrong) > len(heights):
        advice = "Check the orientation stored in the file and flip the segmentation."
        return [Finding("warning", "upside-down", f"Head and feet look swapped: {examples}.", advice, labels=labels)]
    return [
        Finding(
            "warning",
            "order-conflict",
            f"Labels are in an impossible order: {examples}.",
            "Correct them.",
            labels=labels,
        )
    ]


def _training(places: Mapping[int, LabelPlace], region: Region, card: ModelCard) -> list[Finding]:
    found = []
    trained = card.trained_on.get("labels")
    unseen = sorted(set(places) - set(trained)) if trained else []
    if unseen:
        text = f"The model has not been trained on {_names(unseen)}."
        advice = "Expect little detail there, or take a model that knows them."
        found.append(Finding("warning", "untrained-labels", text, advice, "drop-labels", tuple(unseen)))
    regions = card.trained_on.get("regions")
    foreign = [name for name in region.names if regions and name not in regions]
    if foreign:
        text = f"The model has not been trained on the {_phrase(foreign)}."
        found.append(Finding("warning", "untrained-region", text, "Take another model or another region."))
    return found


def _tiny(places: Mapping[int, LabelPlace]) -> list[Finding]:
    vocabulary = load_vocabulary()
    tiny = [label for label, place in places.items() if place.voxels < TINY_VOXELS]
    lesions = [label for label in tiny if vocabulary.by_id(label).lesion]
    others = [label for label in tiny if label not in lesions]
    found = []
    if lesions:
        text = (
            f"{_names(lesions)}: fewer than {TINY_VOXELS} voxels on the model's grid, too small to be seen in the CT."
        )
        found.append(
            Finding(
                "warning", "tiny-lesion", text, "Enlarge the lesion or choose a finer spacing.", labels=tuple(lesions)
            )
        )
    if others:
        text = f"{_names(others)}: fewer than {TINY_VOXELS} voxels on the model's grid, hardly visible in the CT."
        found.append(Finding("info", "tiny-structure", text, labels=tuple(others)))
    return found


def _are_pair(relation: Relation) -> bool:
    """Whether these are one structure's two sides, or two that each lie on one side (liver, spleen)."""
    first, second = (load_vocabulary().by_id(i) for i in (relation.first, relation.second))
    if not first.side and not second.side:
        return True
    return re.sub("^left ", "", first.name) == re.sub("^right ", "", second.name)


def _suggest(places: Mapping[int, LabelPlace]) -> str:
    derived = region_from_labels(places)
    return f"the labels suggest {derived}" if derived else "one of " + ", ".join(REGIONS)


def _names(ids: Iterable[int], limit: int = 5) -> str:
    names = [load_vocabulary().by_id(i).display_name for i in ids]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _phrase(words: Iterable[str]) -> str:
    *rest, last = words
    return f"{', '.join(rest)} and {last}" if rest else last
