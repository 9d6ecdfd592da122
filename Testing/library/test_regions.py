"""Body regions from labels and from what users write."""

from __future__ import annotations

import pytest

from SynthCTLib.errors import InputError
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.regions import REGIONS, Region, parse_region, region_from_labels


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        ([22], ("head",)),
        ([120, 28], ("head", "chest")),
        ([32], ("chest",)),
        ([28, 1], ("chest", "abdomen")),
        ([14, 93, 200], ("abdomen", "pelvis")),
        ([2], ("abdomen",)),  # the id that stands for both kidneys
        ([94], ("pelvis",)),
        ([22, 94], ("head", "chest", "abdomen", "pelvis")),  # no gaps: what is between is there as well
    ],
)
def test_the_region_reaches_from_the_topmost_to_the_lowest_marker(ids, names):
    assert region_from_labels(ids).names == names


@pytest.mark.parametrize("ids", [[], [0], [6, 121, 200]])
def test_without_a_marker_there_is_no_region(ids):
    assert region_from_labels(ids) is None


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("chest", "chest"),
        ("Chest-Abdomen", "chest-abdomen"),
        ("abdomen, chest", "chest-abdomen"),
        ("chest to pelvis", "chest-abdomen-pelvis"),
        ("chest->abdomen", "chest-abdomen"),
        ("thorax", "chest"),
        ("head-neck", "head"),
        ("lower", "pelvis"),
        ("thigh", "pelvis"),
        ("whole body", "head-chest-abdomen-pelvis"),
    ],
)
def test_regions_are_understood_as_users_write_them(text, names):
    assert str(parse_region(text)) == names


@pytest.mark.parametrize("text", ["", "chst", "chest-arm", "whole chest"])
def test_a_word_that_is_no_region_is_refused_with_the_choices(text):
    with pytest.raises(InputError) as caught:
        parse_region(text)
    assert all(name in str(caught.value) for name in REGIONS)


@pytest.mark.parametrize(("top", "bottom"), [(2, 1), (-1, 0), (0, 4)])
def test_an_impossible_region_cannot_be_made(top, bottom):
    with pytest.raises(InputError):
        Region(top, bottom)


def test_the_label_table_uses_the_same_region_names_in_the_same_order():
    for label in load_vocabulary().labels:
        assert list(label.regions) == [name for name in REGIONS if name in label.regions]
