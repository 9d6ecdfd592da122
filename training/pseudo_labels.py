"""What the mask of a case shows, also where nobody drew one.

Given labels are kept as they are. What is missing is filled from the CT itself, by rules that only claim what HU and
position show: body outline, lung, airway, bone, brain inside the skull, paraspinal muscle. Where a labeled case covers
the same region, its labels are carried over by registration first (:mod:`training.atlas`), and the rules correct bone
and lung. Vertebra and rib *numbers* that come from here are approximate; tissue kinds are not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from SynthCTLib.body import body_from_ct
from SynthCTLib.labels import load_vocabulary
from SynthCTLib.volume import Volume

BODY, TRACHEA, BRAIN, SKULL, CORD, STERNUM = 200, 57, 22, 120, 121, 122
PARASPINAL = {"left": 104, "right": 105}
BRAINSTEM_EXTRA, MANDIBLE_EXTRA = 214, 213
CERVICAL_TO_THORACIC = (56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45)  # C1 … C7, T1 … T5
VERTEBRA_HEIGHT_MM = (20, 22, 15, 15, 15, 15, 16, 18, 19, 20, 20, 21)


class Case:
    """CT, labels and physical coordinates of one prepared case; index 0 runs to the right, 1 to the front, 2 up."""

    def __init__(self, folder: Path, meta: dict) -> None:
        self.meta = meta
        self.hu = np.load(folder / "ct.npy")
        given, extra = folder / "labels.npy", folder / "labels_extra.npy"
        empty = np.zeros(self.hu.shape, np.uint8)
        self.given = np.load(given) if given.is_file() else empty
        self.extra = np.load(extra) if extra.is_file() else empty
        self.spacing = np.asarray(meta["spacing"])
        self.volume = Volume(self.hu, np.asarray(meta["affine"]))
        self.body = body_from_ct(self.volume)

    def millimeters(self, mm: float) -> tuple[int, int, int]:
        """``mm`` in voxels along each axis, at least 1."""
        x, y, z = np.maximum(1, np.round(mm / self.spacing)).astype(int)
        return int(x), int(y), int(z)

    def ball(self, mm: float) -> np.ndarray:
        """Ellipsoid structuring element of the given radius."""
        r = self.millimeters(mm)
        grid = np.ogrid[tuple(slice(-n, n + 1) for n in r)]
        return np.asarray(sum((g / n) ** 2 for g, n in zip(grid, r, strict=True)) <= 1.01)


def find_bone(case: Case, threshold: float) -> np.ndarray:
    """Bone with its marrow: components above ``threshold`` that reach 320 HU somewhere, closed and filled per slice."""
    dense = (case.hu > threshold) & case.body
    components, count = ndimage.label(dense)
    if count == 0:
        return dense
    index = np.arange(1, count + 1)
    peak = ndimage.maximum(case.hu, components, index)
    size = ndimage.sum_labels(dense, components, index) * case.spacing.prod()
    keep = np.concatenate([[False], (peak > 320) & (size > 150)])
    bone = ndimage.binary_closing(keep[components], structure=case.ball(3.0)) & case.body
    for z in range(bone.shape[2]):
        filled = ndimage.binary_fill_holes(bone[:, :, z])
        holes, n = ndimage.label(filled & ~bone[:, :, z])
        small = np.bincount(holes.ravel(), minlength=n + 1) * case.spacing[0] * case.spacing[1] < 1500
        small[0] = False
        bone[:, :, z] |= small[holes]
    return bone


def find_air(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """(lung, airway): air inside the body, split by size after opening; gut gas and sinuses are left out of both."""
    air = (case.hu < -450) & case.body
    core = ndimage.binary_opening(air, structure=case.ball(8.0))
    seeds, count = ndimage.label(core)
    lung = np.zeros_like(air)
    volume = case.spacing.prod() / 1000
    for n in range(1, count + 1):
        part = seeds == n
        # Gas in the gut is emptier (below -920) than lung tissue.
        if part.sum() * volume > 40 and np.median(case.hu[part]) > -935:
            lung |= part
    lung = ndimage.binary_dilation(lung, structure=case.ball(9.0)) & air
    return lung, air & ~lung


def split_lungs(case: Case, lung: np.ndarray, labels: np.ndarray) -> None:
    """Write lobe ids: side by position to the body's middle, lobes by a plane that falls toward the front."""
    if not lung.any():
        return
    x, y, z = (np.arange(n) * s for n, s in zip(lung.shape, case.spacing, strict=True))
    middle = np.average(np.where(case.body.any((1, 2)))[0]) * case.spacing[0]
    top = "head" in case.meta["region"]
    for is_right, upper, lower, central in ((False, 28, 29, None), (True, 30, 32, 31)):
        side = lung & ((x > middle) == is_right)[:, None, None]
        if not side.any():
            continue
        if top:
            labels[side] = upper
            continue
        zs, ys = np.where(side.any((0, 1)))[0], np.where(side.any((0, 2)))[0]
        height = (z - z[zs[0]]) / max(1.0, z[zs[-1]] - z[zs[0]])
        front = (y - y[ys[0]]) / max(1.0, y[ys[-1]] - y[ys[0]])
        plane = height[None, None, :] + 0.7 * front[None, :, None]
        labels[side & (plane < 0.85)] = lower
        labels[side & (plane >= 0.85)] = upper
        if central is not None:
            labels[side & (plane >= 0.85) & (height[None, None, :] < 0.5)] = central


def spine_center(case: Case, bone: np.ndarray) -> np.ndarray:
    """(x, y) in mm of the spinal canal per slice: the labeled cord where there is one, else the bone's middle back."""
    centers = np.full((bone.shape[2], 2), np.nan)
    xs, ys = (np.arange(n) * s for n, s in zip(bone.shape[:2], case.spacing[:2], strict=True))
    for z in range(bone.shape[2]):
        cord = case.given[:, :, z] == CORD
        if cord.any():
            i, j = np.where(cord)
            centers[z] = xs[i].mean(), ys[j].mean()
    known = np.where(~np.isnan(centers[:, 0]))[0]
    if len(known):
        for axis in range(2):
            centers[:, axis] = np.interp(np.arange(len(centers)), known, centers[known, axis])
    return centers


def base_of_skull(case: Case) -> int:
    """First slice of the head's inside: where the labeled brainstem begins, else where the labeled cord ends."""
    stem = np.where((case.extra == BRAINSTEM_EXTRA).any((0, 1)))[0]
    cord = np.where((case.given == CORD).any((0, 1)))[0]
    return int(stem[0]) if len(stem) else int(cord[-1]) if len(cord) else case.hu.shape[2]


def label_neck_bones(case: Case, bone: np.ndarray, labels: np.ndarray) -> None:
    """Skull, cervical and upper thoracic vertebrae, clavicles, scapulae, humeri, ribs and sternum by position."""
    centers = spine_center(case, bone)
    xs, ys, zs = (np.arange(n) * s for n, s in zip(bone.shape, case.spacing, strict=True))
    jaw = np.where((case.extra == MANDIBLE_EXTRA).any((0, 1)))[0]
    top = zs[min(base_of_skull(case), len(zs) - 1)]
    chin = zs[jaw[0]] if len(jaw) else top - 60
    # The cord alone does not tell where the spine ends; a case without it keeps its skull and nothing guessed.
    for z in np.where(bone.any((0, 1)))[0]:
        plane = bone[:, :, z]
        if np.isnan(centers[z, 0]):
            labels[:, :, z][plane] = SKULL
            continue
        dx, dy = xs[:, None] - centers[z, 0], ys[None, :] - centers[z, 1]
        depth = top - zs[z]
        near = (np.hypot(dx, dy - 8) < 34) & (depth > 0)
        level = int(np.searchsorted(np.cumsum(VERTEBRA_HEIGHT_MM), max(depth, 0)))
        vertebra = CERVICAL_TO_THORACIC[min(level, len(CERVICAL_TO_THORACIC) - 1)]
        ids = np.full(plane.shape, SKULL, np.uint8)
        if zs[z] < chin - 10:
            right = dx > 0
            rib = min(max(level - 7, 0), 4)
            ids = np.where(right, 75 + rib, 63 + rib).astype(np.uint8)
            front, far = dy > 35, np.abs(dx) > 150
            ids = np.where(front, np.where(right, 92, 91), ids)
            ids = np.where(front & (np.abs(dx) < 22) & (level > 8), STERNUM, ids)
            ids = np.where((dy < 25) & (np.abs(dx) > 55), np.where(right, 90, 89), ids)
            ids = np.where(far, np.where(right, 88, 87), ids)
        ids = np.where(near, vertebra, ids)
        labels[:, :, z][plane] = ids[plane]


def label_brain(case: Case, labels: np.ndarray) -> None:
    """Soft tissue enclosed by the skull, slice by slice, above its base."""
    skull = (labels == SKULL) & (case.hu > 150)
    start = base_of_skull(case)
    soft = (case.hu > -20) & (case.hu < 100)
    opener = case.ball(6.0)[:, :, case.millimeters(6.0)[2]]
    brain = np.zeros_like(skull)
    for z in range(start, skull.shape[2]):
        # Foramina and thin bone leave gaps in the ring; a wider closing is tried until it encloses something.
        for radius in (6.0, 12.0, 20.0):
            closer = case.ball(radius)[:, :, case.millimeters(radius)[2]]
            ring = ndimage.binary_closing(np.pad(skull[:, :, z], 12), structure=closer)[12:-12, 12:-12]
            inside = (ndimage.binary_fill_holes(ring) | ring) & ~skull[:, :, z] & soft[:, :, z]
            brain[:, :, z] = ndimage.binary_opening(inside, structure=opener)
            if brain[:, :, z].sum() * case.spacing[0] * case.spacing[1] > 3000:
                break
    brain = ndimage.binary_opening(
        ndimage.binary_closing(brain, structure=case.ball(6.0)) & soft, structure=opener[:, :, None]
    )
    labels[brain & (labels == BODY)] = BRAIN


def label_airway(case: Case, airway: np.ndarray, labels: np.ndarray) -> None:
    """Trachea: in each slice the tube of 0.5 to 7 cm² in front of the cord; nothing above the larynx."""
    centers = spine_center(case, airway)
    larynx = np.where((case.extra == 212).any((0, 1)))[0]
    jaw = np.where((case.extra == MANDIBLE_EXTRA).any((0, 1)))[0]
    upper = larynx[0] if len(larynx) else (jaw[0] - int(40 / case.spacing[2]) if len(jaw) else airway.shape[2])
    for z in range(max(0, min(upper, airway.shape[2]))):
        parts, count = ndimage.label(airway[:, :, z])
        if np.isnan(centers[z, 0]):
            continue
        for n in range(1, count + 1):
            i, j = np.where(parts == n)
            area = len(i) * case.spacing[0] * case.spacing[1] / 100
            dx = i.mean() * case.spacing[0] - centers[z, 0]
            dy = j.mean() * case.spacing[1] - centers[z, 1]
            if 0.3 < area < 7 and abs(dx) < 30 and 10 < dy < 90:
                labels[:, :, z][parts == n] = TRACHEA


def label_paraspinal(case: Case, labels: np.ndarray) -> None:
    """Muscle behind and beside the spine (autochthon)."""
    centers = spine_center(case, case.body)
    xs, ys = (np.arange(n) * s for n, s in zip(labels.shape[:2], case.spacing[:2], strict=True))
    top = base_of_skull(case)
    muscle = ndimage.binary_opening((case.hu > -10) & (case.hu < 130), structure=case.ball(3.0))
    for z in range(top):
        if np.isnan(centers[z, 0]):
            continue
        dx, dy = xs[:, None] - centers[z, 0], ys[None, :] - centers[z, 1]
        near = (np.abs(dx) < 45) & (dy < 5) & (dy > -70) & muscle[:, :, z] & (labels[:, :, z] == BODY)
        labels[:, :, z][near & (dx > 0)] = PARASPINAL["right"]
        labels[:, :, z][near & (dx <= 0)] = PARASPINAL["left"]


def label_thigh_bones(case: Case, bone: np.ndarray, labels: np.ndarray) -> None:
    """Crops around a sarcoma: the largest bone is the femur, others the hip; scapula and ribs at the chest."""
    right = sum(map(ord, case.meta["case_id"])) % 2 == 0  # the crop does not tell the side; fixed per case
    parts, count = ndimage.label(bone)
    if count == 0:
        return
    order = np.argsort(np.bincount(parts.ravel())[1:])[::-1] + 1
    if "lower" in case.meta["region"]:
        ids = [94 if right else 93] + [96 if right else 95] * (count - 1)
    else:
        ids = [90 if right else 89] + [79 if right else 67] * (count - 1)
    for part, label in zip(order, ids, strict=True):
        labels[parts == part] = label


def pseudo_label(case: Case, carried: np.ndarray | None = None) -> np.ndarray:
    """uint8 MAISI ids on the case's grid; 0 outside the body, 200 in body voxels of no known structure.

    ``carried``: labels of an atlas registered to this case, or None.
    """
    labels = np.where(case.body, BODY, 0).astype(np.uint8)
    group = case.meta["group"]
    bone = find_bone(case, 180 if group in ("openkbp", "ibsi") else 230)
    lung, airway = find_air(case) if group != "ibsi" else (np.zeros_like(bone), np.zeros_like(bone))
    if carried is not None:
        labels = carry_over(case, carried, bone, lung, labels)
    elif group == "openkbp":
        label_neck_bones(case, bone, labels)
        label_brain(case, labels)
        split_lungs(case, lung & ~bone, labels)
        label_airway(case, airway, labels)
        label_paraspinal(case, labels)
    elif group == "ibsi":
        label_thigh_bones(case, bone, labels)
    labels[case.extra == BRAINSTEM_EXTRA] = BRAIN
    known = case.given > 0
    labels[known] = case.given[known]
    labels[~case.body & ~known] = 0
    return labels


def carry_over(case: Case, carried: np.ndarray, bone: np.ndarray, lung: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Atlas labels, corrected by what the CT shows: bone and lung get the nearest atlas id of their kind, or none."""
    bony = np.isin(carried, load_vocabulary().group_ids("bone"))
    lobes = np.isin(carried, load_vocabulary().group_ids("lung"))
    soft = (carried > 0) & ~bony & ~lobes & case.body & (case.hu > -200) & ~bone & ~lung
    result = labels.copy()
    result[soft] = carried[soft]
    # Spongy bone is below the threshold of find_bone; where the atlas agrees, 110 HU are enough.
    spongy = bony & (case.hu > 110) & case.body
    result[spongy] = carried[spongy]
    trachea = (carried == TRACHEA) & (case.hu < -400)
    result[trachea] = TRACHEA
    for kind, found in ((bony, bone), (lobes, lung & ~bone)):
        if not kind.any():
            continue
        distance, nearest = ndimage.distance_transform_edt(~kind, sampling=case.spacing, return_indices=True)
        near = found & (distance < 40)
        result[near] = carried[tuple(axis[near] for axis in nearest)]
    return result
