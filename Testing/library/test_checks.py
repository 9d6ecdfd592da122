"""Contradictions in a mask are said in words, with what to do; a sound mask gets no warning."""

from __future__ import annotations

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from SynthCTLib.anatomy import label_places, relations, sparse_stride
from SynthCTLib.body import add_body
from SynthCTLib.checks import check_mask
from SynthCTLib.geometry import resample_labels
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.regions import Region, parse_region
from SynthCTLib.resources import resource_path
from SynthCTLib.volume import Volume

BODY = 200
LIVER, SPLEEN, RIGHT_KIDNEY, LEFT_KIDNEY, BRAIN, LUNG_TUMOR, BLADDER, LEFT_FEMUR = 1, 3, 5, 14, 22, 23, 15, 93
ABDOMEN = Region(2, 2)


def card(**trained_on) -> SimpleNamespace:
    grid = {
        "xy": {"multiple": 16, "min": 32, "max": 256},
        "z": {"multiple": 16, "min": 32, "max": 256},
        "square": True,
        "spacing_xy": [2.0, 6.0],
        "spacing_z": [2.0, 6.0],
        "fov_xy_min": 100,
        "defaults": {"*": {"size": [64, 64, 64], "spacing": [4, 4, 4]}},
    }
    return SimpleNamespace(grid=grid, trained_on=trained_on)


def mask(ids: dict[int, tuple[int, int, int]], shape=(64, 64, 64), spacing=5.0, radius=2) -> Volume:
    """A body with a block of each label around the given voxel (x to the right, z to the head)."""
    array = np.zeros(shape, dtype=np.uint8)
    array[4:-4, 8:-8, :] = BODY
    for label, (x, y, z) in ids.items():
        array[x - radius : x + radius + 1, y - radius : y + radius + 1, z - radius : z + radius + 1] = label
    return Volume(array, np.diag([spacing, spacing, spacing, 1.0]))


SOUND = {LIVER: (45, 32, 40), SPLEEN: (15, 32, 42), RIGHT_KIDNEY: (42, 24, 30), LEFT_KIDNEY: (22, 24, 31)}


def found(volume: Volume, region: Region = ABDOMEN, **trained_on) -> dict[str, str]:
    return {f.code: f.sentence() for f in check_mask(volume, region, card(**trained_on))}


def test_a_sound_mask_gives_no_finding():
    assert found(mask(SOUND), labels=[*SOUND, BODY], regions=["abdomen"], fov_mm=[[200, 400]] * 3) == {}


@pytest.mark.parametrize("case", ["totalseg_s0327_chest", "totalseg_s0327_abdomen_pelvis"])
def test_a_real_patient_gives_no_warning_about_anatomy(case):
    image = nib.load(resource_path("Cases", case, "labels.nii.gz"))
    affine = image.affine @ np.diag([2, 2, 2, 1])
    labels = add_body(Volume(np.asarray(image.dataobj)[::2, ::2, ::2], affine))
    places = label_places(labels)
    region = parse_region("chest-abdomen" if case.endswith("chest") else "chest-pelvis")
    wrong = [f.code for f in check_mask(labels, region, card()) if f.severity == "warning" and "spacing" not in f.code]
    assert len(places) > 60 and wrong == []
    assert len(relations(places)) > 500 and all(
        relation.holds for relation in relations(places) if relation.kind == "height"
    )


def test_left_and_right_swapped_is_said_with_an_example():
    volume = mask(SOUND)
    flipped = volume.with_array(volume.array[::-1])
    assert "Left and right look swapped" in found(flipped)["left-right-swapped"]
    assert "flip" in found(flipped)["left-right-swapped"]


def test_a_liver_on_the_left_of_the_spleen_is_said_even_alone():
    text = found(mask({LIVER: (15, 32, 40), SPLEEN: (45, 32, 40)}))["left-right-swapped"]
    assert "Spleen lies on the right of Liver" in text


def test_one_swapped_pair_is_named():
    swapped = SOUND | {
        RIGHT_KIDNEY: SOUND[LEFT_KIDNEY],
        LEFT_KIDNEY: SOUND[RIGHT_KIDNEY],
        28: (18, 32, 60),
        30: (46, 32, 60),
    }
    text = found(mask(swapped), Region(1, 2))["side-conflict"]
    assert "Left kidney on the right of Right kidney" in text


def test_a_map_standing_on_its_head_is_said():
    volume = mask(SOUND | {BRAIN: (32, 32, 60), BLADDER: (32, 32, 5)}, spacing=6.0)
    upright, turned = found(volume, Region(0, 3)), found(volume.with_array(volume.array[:, :, ::-1]), Region(0, 3))
    assert "upside-down" not in upright and "order-conflict" not in upright
    assert "Head and feet look swapped" in turned["upside-down"]


def test_a_brain_under_the_kidneys_is_said():
    ids = SOUND | {
        BRAIN: (32, 32, 12),
        33: (32, 20, 6),
        37: (32, 20, 26),
        45: (32, 20, 45),
        40: (32, 20, 38),
        62: (32, 40, 20),
    }
    assert "Brain lies below" in found(mask(ids), Region(0, 2))["order-conflict"]


def test_a_femur_in_a_head_case_is_said_with_the_region_that_fits():
    text = found(mask({BRAIN: (32, 32, 50), LEFT_FEMUR: (20, 32, 10)}), parse_region("head"))["region-contradiction"]
    assert "femur" in text and "head" in text and "head-chest-abdomen-pelvis" in text


def test_a_region_without_any_label_of_its_own_is_said():
    text = found(mask({BRAIN: (32, 32, 50), LEFT_FEMUR: (20, 32, 10)}), parse_region("head-pelvis"))["region-gap"]
    assert "chest and abdomen" in text


def test_a_region_that_differs_from_the_labels_is_an_information():
    assert "suggest abdomen" in found(mask(SOUND), Region(2, 3))["region-gap"]
    assert "suggest chest-abdomen" in found(mask(SOUND | {28: (18, 32, 60)}))["region-differs"]


def test_a_field_of_view_far_outside_training_is_said():
    assert "320 mm" in found(mask(SOUND), fov_mm=[[100, 200], [100, 400], [100, 400]])["fov-outside"]
    thin = mask(SOUND)
    thin.array[:, :, :28] = 0
    thin.array[:, :, 45:] = 0
    assert "Only 85 mm are shown head-foot" in found(thin, fov_mm=[[100, 400], [100, 400], [150, 400]])["fov-outside"]
    assert "fov-outside" not in found(mask(SOUND), fov_mm=[[100, 300], [100, 400], [100, 400]]), "7 % is not far"


def test_a_missing_body_envelope_is_an_error_with_a_remedy():
    volume = mask(SOUND)
    volume.array[volume.array == BODY] = 0
    finding = next(f for f in check_mask(volume, ABDOMEN, card()) if f.code == "no-body")
    assert (finding.severity, finding.fix) == ("error", "add-body")


def test_nothing_but_the_body_and_nothing_at_all_are_said():
    assert "only-body" in found(mask({}))
    empty = Volume(np.zeros((64, 64, 64), dtype=np.uint8), np.diag([5.0, 5, 5, 1]))
    assert {"empty", "no-body"} <= set(found(empty))


def test_dummy_and_unknown_ids_are_errors():
    findings = check_mask(mask(SOUND | {16: (32, 32, 10), 150: (32, 32, 20)}), ABDOMEN, card())
    finding = next(f for f in findings if f.code == "unknown-labels")
    assert finding.severity == "error" and finding.labels == (16, 150) and finding.fix == "drop-labels"


def test_labels_and_regions_that_the_model_has_not_seen_are_named():
    texts = found(mask(SOUND), labels=[LIVER, RIGHT_KIDNEY, LEFT_KIDNEY, BODY], regions=["chest"])
    assert "Spleen" in texts["untrained-labels"] and "abdomen" in texts["untrained-region"]


def test_lesions_too_small_to_be_seen_are_named():
    small = mask({LUNG_TUMOR: (40, 32, 50), LIVER: (45, 32, 40)}, radius=0)
    texts = found(small, Region(1, 2))
    assert "Lung tumor" in texts["tiny-lesion"] and "finer spacing" in texts["tiny-lesion"]
    assert "Liver" in texts["tiny-structure"] and "tumor" not in texts["tiny-structure"]


def test_sizes_and_spacings_outside_the_card_are_said():
    volume = mask(SOUND, spacing=7.0)
    assert "7.00 mm" in found(volume)["spacing-outside"]
    odd = Volume(volume.array[:60], volume.affine)
    findings = [f for f in check_mask(odd, ABDOMEN, card()) if f.code == "size-not-allowed"]
    assert "at least 100 mm" in found(mask(SOUND, spacing=1.5))["fov-too-small"]
    assert len(findings) == 1 and findings[0].severity == "error" and findings[0].fix == "resample"


def test_places_of_labels_are_exact_and_nearly_so_from_every_nth_voxel():
    affine = np.array([[2.0, 0.3, 0, 5], [-0.3, 2.0, 0, 6], [0, 0, 3.0, 7], [0, 0, 0, 1]])
    volume = Volume(mask({LIVER: (20, 32, 40)}, radius=5).array, affine)
    place = label_places(volume)[LIVER]
    assert place.voxels == 11**3 and place.low == (15, 27, 35) and place.high == (25, 37, 45)
    assert np.allclose(place.centroid, (affine @ [20, 32, 40, 1])[:3])
    rough = label_places(volume, (3, 3, 3))[LIVER]
    assert np.abs(np.subtract(rough.centroid, place.centroid)).max() < 6
    assert sparse_stride((512, 512, 512)) == (3, 3, 3) and sparse_stride((1, 1, 1)) == (1, 1, 1)


def test_every_organ_of_the_rules_exists_in_the_vocabulary():
    places = label_places(mask({label.id: (20, 32, 32) for label in load_vocabulary().classes_127()}, radius=0))
    assert relations(places) == []
    volume = resample_labels(mask(SOUND), (64, 64, 64), np.diag([5.0, 5, 5, 1]))
    assert {r.kind for r in relations(label_places(volume))} == {"side"}
