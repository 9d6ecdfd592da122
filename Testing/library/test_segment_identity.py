"""A segment is what its tag, terminology and name agree on; where they do not, a sentence names it."""

from __future__ import annotations

import pytest

from SynthCTLib.labels import load_vocabulary
from SynthCTLib.segment_identity import identify_segment

LIVER, SPLEEN, RIGHT_KIDNEY, COLON, LEFT_KIDNEY_CYST, RIGHT_KIDNEY_CYST = 1, 3, 5, 62, 116, 117
vocabulary = load_vocabulary()


def entry(category: str, type_: str, modifier: str = "^^", region: str = "^^", region_modifier: str = "^^") -> str:
    """As Slicer's TotalSegmentator extension writes it, with its bar at the end."""
    parts = ["Segmentation category and type - Total Segmentator", category, type_, modifier]
    return "~".join([*parts, "Anatomic codes - DICOM master list", region, region_modifier]) + "|"


ORGAN = "SCT^123037004^Anatomical Structure"
TISSUE = entry("SCT^85756007^Tissue", "SCT^85756007^Tissue")
LIVER_ENTRY = entry(ORGAN, "SCT^10200004^Liver")
SPLEEN_ENTRY = entry(ORGAN, "SCT^78961009^Spleen")
RIGHT_KIDNEY_ENTRY = entry(ORGAN, "SCT^64033007^Kidney", "SCT^24028007^Right")
UTERUS_ENTRY = entry(ORGAN, "SCT^35039007^Uterus")


@pytest.mark.parametrize(
    ("name", "tag", "terminology", "label", "source", "code"),
    [
        ("kidney_right", "", "", RIGHT_KIDNEY, "name", None),
        ("right kidney", "", TISSUE, RIGHT_KIDNEY, "name", None),
        ("Segment_1", "", RIGHT_KIDNEY_ENTRY, RIGHT_KIDNEY, "terminology", None),
        ("my favorite", "1", LIVER_ENTRY, LIVER, "tag", None),
        ("my favorite", "1", TISSUE, LIVER, "tag", None),
        ("spleen", "1", LIVER_ENTRY, LIVER, "tag", "renamed"),
        ("spleen", "1", SPLEEN_ENTRY, SPLEEN, "terminology", "relabeled"),
        ("spleen", "", LIVER_ENTRY, LIVER, "terminology", "name-and-terminology"),
        ("liver", "", UTERUS_ENTRY, LIVER, "name", "name-and-terminology"),
        ("liver", "1", SPLEEN_ENTRY, None, None, "tag-and-terminology"),
        ("colon", "1", SPLEEN_ENTRY, None, None, "tag-and-terminology"),
        ("whatever", "1", UTERUS_ENTRY, None, None, "tag-and-terminology"),
        ("whatever", "", UTERUS_ENTRY, None, None, "unknown-segment"),
        ("Segment_1", "", TISSUE, None, None, "unknown-segment"),
        ("left lung", "", "", None, None, "unknown-segment"),
        ("liver", "400", "", None, None, "invalid-label-id"),
        ("liver", "-1", "", None, None, "invalid-label-id"),
        ("liver", "one", "", None, None, "invalid-label-id"),
        ("liver", "0", "", None, None, "invalid-label-id"),
        ("liver", "2", "", None, None, "unused-label"),
    ],
)
def test_a_segment_is_the_right_label_or_a_sentence_names_it(name, tag, terminology, label, source, code):
    identity = identify_segment(name, tag, terminology, vocabulary)
    assert (identity.label and identity.label.id, identity.source) == (label, source)
    assert (identity.finding and identity.finding.code) == code
    if identity.finding is not None:
        assert f"'{name}'" in identity.finding.message
        assert (identity.finding.severity == "error") == (label is None)


def test_conflicting_labels_are_offered_as_candidates():
    assert identify_segment("colon", "1", SPLEEN_ENTRY, vocabulary).candidates == (SPLEEN, LIVER, COLON)
    assert identify_segment("spleen", "1", LIVER_ENTRY, vocabulary).candidates == (LIVER, SPLEEN)
    assert identify_segment("splen", "", "", vocabulary).candidates[0] == SPLEEN
    assert len(identify_segment("left lung", "", "", vocabulary).candidates) == 2


@pytest.mark.parametrize(
    ("side", "label"), [("SCT^7771000^Left", LEFT_KIDNEY_CYST), ("SCT^24028007^Right", RIGHT_KIDNEY_CYST)]
)
def test_a_cyst_of_totalsegmentator_is_told_by_its_region_since_both_are_called_cyst(side, label):
    cyst = ("SCT^49755003^Morphologically Altered Structure", "SCT^367643001^Cyst", "^^", "SCT^64033007^Kidney")
    assert identify_segment("cyst", "", entry(*cyst, side), vocabulary).label.id == label
    assert identify_segment("cyst", "", entry(*cyst), vocabulary).label is None


def test_a_code_of_another_terminology_that_means_the_same_is_no_conflict():
    old = "List~SRT^T-D000A^Anatomical Structure~SRT^T-71000^Kidney~SRT^G-A100^Right~Other~^^~^^"
    assert identify_segment("right kidney", "", old, vocabulary).finding is None
    assert identify_segment("left kidney", "", old, vocabulary).finding.code == "name-and-terminology"
