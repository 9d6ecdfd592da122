"""The label table and its lookups."""

from __future__ import annotations

import csv
import itertools

import pytest

from SynthCTLib.errors import InputError, ResourceError
from SynthCTLib.labels import BODY, CLASS_GROUPS, Code, load_vocabulary
from SynthCTLib.regions import REGIONS
from SynthCTLib.resources import resource_path, resources_folder

DUMMIES = {2, 16, 18, 20, 21, 129, 130, 131}
SLICER_COLUMNS = ["LabelValue", "Name", "Color_R", "Color_G", "Color_B", "Color_A"] + [
    f"{term}_{part}"
    for term in ("Category", "Type", "TypeModifier", "Region", "RegionModifier")
    for part in ("CodingScheme", "CodeValue", "CodeMeaning")
]
LEFT, RIGHT = "7771000", "24028007"

vocabulary = load_vocabulary()


def test_the_table_has_132_ids_and_the_body():
    assert vocabulary.ids == (*range(1, 133), BODY)
    assert {label.id for label in vocabulary.labels if label.dummy} == DUMMIES


def test_the_127_classes_are_124_labels_and_three_groups_of_them():
    classes = vocabulary.classes_127()
    assert len(classes) + len(CLASS_GROUPS) == 127
    used = {label.id for label in classes}
    assert not used & (DUMMIES | {BODY})
    assert all(set(members) <= used for members in CLASS_GROUPS.values())


def test_the_organ_groups_are_those_of_the_reference():
    groups = {group.name: group for group in vocabulary.organ_groups}
    assert set(groups) == {"liver", "spleen", "pancreas", "kidney", "lung", "bone", "brain"}
    assert vocabulary.group_ids("lung") == (28, 29, 30, 31, 32) and vocabulary.group_ids("kidney") == (5, 14)
    assert vocabulary.group_ids("bone") == (*range(33, 57), *range(63, 98), 120, 122, 127)
    assert groups["bone"].hu_range == (71.4, 1000.0)
    for name in ("kidney", "lung"):
        assert {vocabulary.by_id(i).hu_range for i in groups[name].ids} == {groups[name].hu_range}
    assert (groups["liver"].title, groups["liver"].hu_range) == ("Liver", vocabulary.find("liver").hu_range)
    assert {name: groups[name].ids for name in ("kidney", "lung", "bone")} == CLASS_GROUPS


def test_the_bones_are_the_skeleton_of_the_table_without_cartilage():
    skeleton = {label.id for label in vocabulary.labels if label.group in ("Spine", "Ribs and sternum", "Other bones")}
    assert set(vocabulary.group_ids("bone")) == skeleton - {vocabulary.find("costal cartilages").id}


def test_a_group_that_does_not_exist_is_answered_with_those_that_do():
    with pytest.raises(InputError, match=r"'bones'.*liver.*bone"):
        vocabulary.group_ids("bones")


def test_a_region_marker_lies_in_the_region_that_it_proves():
    assert {label.region_marker for label in vocabulary.labels} == {"", *REGIONS}
    for label in vocabulary.labels:
        assert not label.region_marker or label.dummy or label.regions == (label.region_marker,)


def test_the_first_columns_are_those_that_slicer_reads():
    with resource_path("labels", "synthct-labels.csv").open(newline="", encoding="utf-8") as handle:
        header, *rows = csv.reader(handle)
    assert header[: len(SLICER_COLUMNS)] == SLICER_COLUMNS
    assert all(len(row) == len(header) for row in rows)


def test_terminology_is_unique_and_found_again():
    for label in vocabulary.labels:
        terms = label.terminology
        assert vocabulary.find_terminology(terms.category, terms.type, terms.modifier) is label
    assert vocabulary.find_terminology(Code("SCT", "1", ""), Code("SCT", "2", ""), None) is None


def test_a_wrong_digit_is_noticed():
    assert _verhoeff("10200004") == 0 and _verhoeff("10200014") != 0


def test_meanings_do_not_matter_when_terminology_is_compared():
    liver = vocabulary.find_terminology(Code("SCT", "123037004", "structure"), Code("SCT", "10200004", "Hígado"), None)
    assert liver is not None and liver.id == 1


def test_own_codes_are_marked_as_own_and_snomed_codes_have_valid_check_digits():
    for label in vocabulary.labels:
        terms = label.terminology
        for code in (terms.category, terms.type, terms.modifier, terms.region, terms.region_modifier):
            if code is None:
                continue
            if code.scheme == "99SYNTHCT":
                assert label.dummy or label.id == BODY
            else:
                assert code.scheme == "SCT"
                assert _verhoeff(code.value) == 0, f"{label.name}: {code.value}"


def _verhoeff(digits: str) -> int:
    """0 for a valid SNOMED CT identifier: its last digit is a Verhoeff check digit (dihedral group D5)."""

    def times(a: int, b: int) -> int:
        if a < 5:
            return (a + b) % 5 + (5 if b >= 5 else 0)
        return (a - b) % 5 + (0 if b >= 5 else 5)

    permutation = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]
    check = 0
    for position, digit in enumerate(map(int, reversed(digits))):
        for _ in range(position):
            digit = permutation[digit]
        check = times(check, digit)
    return check


def test_sides_agree_in_name_column_terminology_and_totalsegmentator_name():
    for label in vocabulary.labels:
        side = next((side for side in ("left", "right") if label.name.startswith(side + " ")), "")
        assert label.side == side
        modifier = label.terminology.modifier
        if side and label.name != "right lung middle lobe":  # its type code already says right
            assert modifier is not None and modifier.value == {"left": LEFT, "right": RIGHT}[side]
        if label.totalsegmentator_name and side:
            assert side in label.totalsegmentator_name.split("_")


def test_every_paired_label_has_its_other_side():
    names = {label.name for label in vocabulary.labels}
    unpaired = {"right lung middle lobe", "left atrial appendage"}
    for label in vocabulary.labels:
        if label.side and label.name not in unpaired:
            other = {"left": "right", "right": "left"}[label.side]
            assert label.name.replace(label.side, other, 1) in names


def test_all_117_totalsegmentator_classes_have_one_label_each():
    mapped = {label.totalsegmentator_id: label for label in vocabulary.labels if label.totalsegmentator_id}
    assert sorted(mapped) == list(range(1, 118))
    known = {1: "spleen", 2: "right kidney", 10: "left lung upper lobe", 21: "bladder", 117: "costal cartilages"}
    assert {number: mapped[number].name for number in known} == known


def test_colors_are_valid_and_no_two_labels_in_use_look_the_same():
    used = [*vocabulary.classes_127(), vocabulary.by_id(BODY)]
    assert all(0 <= value <= 255 for label in used for value in label.color)
    for one, other in itertools.combinations(used, 2):
        difference = sum((a - b) ** 2 for a, b in zip(one.color, other.color, strict=True)) ** 0.5
        assert difference > 9, f"{one.name} and {other.name}"


def test_typical_hu_lies_in_the_accepted_range_and_only_unused_ids_have_none():
    for label in vocabulary.labels:
        if label.dummy:
            assert label.hu_range is None and label.hu_typical is None
        else:
            low, high = label.hu_range
            assert low < label.hu_typical < high, label.name
            assert label.regions


def test_reference_ranges_are_the_wider_of_six_sigma_and_percentiles():
    assert vocabulary.by_id(1).hu_range == (-21.6, 162.0)
    assert vocabulary.by_id(14).hu_range == (-130.6, 267.3)
    assert {vocabulary.by_id(lobe).hu_range for lobe in CLASS_GROUPS["lung"]} == {(-1088.6, -367.0)}


def test_lesions_are_replaced_by_the_organ_around_them():
    assert {label.id for label in vocabulary.lesions()} == {23, 24, 26, 27, 116, 117, 128}
    assert vocabulary.replacements() == {"24": 4, "26": 1, "27": 62, "116": 14, "117": 5}


def test_every_name_of_every_label_leads_to_it():
    for label in vocabulary.labels:
        for name in label.all_names:
            assert vocabulary.find(name) is label, name


@pytest.mark.parametrize(
    ("text", "label_id"),
    [
        ("liver", 1), ("LIVER", 1), ("urinary bladder", 15), ("hepatic tumor", 26), ("Liver Tumour", 26), ("IVC", 7),
        ("kidney_left", 14), ("LeftKidney", 14), ("hip bone left", 95), ("clavicle, right", 92), ("L5", 33),
        ("vertebrae_L5", 33), ("Vertebra L5", 33), ("rib_right_12", 86), ("first rib left", 63), ("body", 200),
        ("lung_trachea_bronchia", 132), ("liver_vessels", 25), ("  Portal vein AND splenic vein ", 17),
    ],
)  # fmt: skip
def test_labels_are_found_however_they_are_written(text, label_id):
    assert vocabulary.find(text).id == label_id


@pytest.mark.parametrize(
    ("text", "named"),
    [("livr", "Liver"), ("splen", "Spleen"), ("left kidny", "Left kidney"), ("vertebra L6", "Vertebra L5")],
)
def test_a_typo_is_answered_with_the_nearest_names(text, named):
    with pytest.raises(InputError, match="did you mean") as caught:
        vocabulary.find(text)
    assert text in str(caught.value) and named in str(caught.value)


def test_a_name_of_several_labels_is_answered_with_all_of_them():
    with pytest.raises(InputError, match="several labels") as caught:
        vocabulary.find("left lung")
    assert "Left upper lobe of lung" in str(caught.value) and "Left lower lobe of lung" in str(caught.value)
    assert "Right" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "???", "qqqqqq"])
def test_a_name_like_no_other_is_refused_without_a_guess(text):
    with pytest.raises(InputError, match="look the names up"):
        vocabulary.find(text)


@pytest.mark.parametrize("label_id", [0, 133, 199, 201, -1])
def test_an_id_outside_the_table_is_refused(label_id):
    with pytest.raises(InputError, match=str(label_id)):
        vocabulary.by_id(label_id)


def test_search_lists_labels_by_the_beginning_of_their_words():
    assert [label.id for label in vocabulary.search("kid")] == [5, 14, 116, 117]
    assert [label.id for label in vocabulary.search("left kid")] == [14, 116]
    assert vocabulary.search("liver")[0].id == 1
    assert 33 in [label.id for label in vocabulary.search("l5")]
    assert vocabulary.search("zz") == []


def test_an_empty_search_lists_every_label_in_use():
    assert [label.id for label in vocabulary.search("")] == [i for i in vocabulary.ids if i not in DUMMIES]


def test_search_prefers_own_names_to_aliases():
    found = [label.name for label in vocabulary.search("lung")]
    assert found.index("lung tumor") < found.index("airway")  # known to TotalSegmentator as lung_trachea_bronchia


def test_a_copy_of_the_package_without_its_resources_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr("SynthCTLib.resources.__file__", str(tmp_path / "SynthCTLib" / "resources.py"))
    resources_folder.cache_clear()
    try:
        with pytest.raises(ResourceError, match="install SynthCT again"):
            resource_path("labels")
    finally:
        resources_folder.cache_clear()


def test_an_installed_package_finds_its_resources_inside_itself(monkeypatch, tmp_path):
    inside = tmp_path / "SynthCTLib" / "Resources"
    (inside / "labels").mkdir(parents=True)
    monkeypatch.setattr("SynthCTLib.resources.__file__", str(tmp_path / "SynthCTLib" / "resources.py"))
    resources_folder.cache_clear()
    try:
        assert resource_path("labels") == inside / "labels"
    finally:
        resources_folder.cache_clear()
