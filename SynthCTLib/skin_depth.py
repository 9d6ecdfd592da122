"""How deep under the skin the labeled structures lie: the anatomy behind the body envelope."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from SynthCTLib.labels import BODY, load_vocabulary


@dataclass(frozen=True)
class SkinDepth:
    """Tissue in mm between the outermost point of a structure and the skin, toward the front, the sides, the back.

    ``names`` is a regular expression over label names without "left" and "right". ``steep``: around it the outline
    changes abruptly along the body axis (neck, shoulders).
    """

    names: str
    front: float
    side: float
    back: float
    steep: bool = False


# Seen along the body axis, so "front" is the distance between two tangents: a plane that touches the structure and one
# that touches the skin. Near depths: rounded means of two labeled adult CTs (chest; abdomen and pelvis) in the slices
# where the structure is the outermost one. Deep ones: about the lower quartile over its slices. Spinal cord: between
# trunk and neck (20 radiotherapy CTs). Head, neck and front of the thigh: estimates from general anatomy.
# Only depths up to NEAR shape the body, and those up to SURE count as knowing where the skin is. The others are typical
# values for maps that hold nothing nearer to the skin.
NEAR = 60.0
SURE = 35.0
SKIN_DEPTHS = (
    SkinDepth("skull", 8, 8, 8, steep=True),
    SkinDepth("brain", 16, 14, 16, steep=True),
    SkinDepth("vertebrae C[1-7]", 70, 60, 48, steep=True),
    SkinDepth("thyroid gland|common carotid artery", 42, 60, 110, steep=True),
    SkinDepth("clavicula", 25, 95, 70, steep=True),
    SkinDepth("scapula", 100, 42, 22, steep=True),
    SkinDepth("humerus", 50, 30, 48, steep=True),
    SkinDepth("rib [1-4]", 27, 60, 48, steep=True),
    SkinDepth("rib ([5-9]|1[0-2])", 25, 18, 25),
    SkinDepth("costal cartilages|sternum", 18, 20, 150),
    SkinDepth("vertebrae [TL][0-9]+", 135, 128, 26),
    SkinDepth("sacrum|vertebrae S1", 150, 115, 29),
    SkinDepth("autochthon", 170, 50, 19),
    SkinDepth("hip", 22, 36, 45),
    SkinDepth("gluteus maximus", 120, 25, 27),
    SkinDepth("gluteus (medius|minimus)", 20, 24, 56),
    SkinDepth("femur", 60, 40, 60),
    SkinDepth("liver|hepatic .*", 26, 26, 65),
    SkinDepth("stomach|small bowel|duodenum|gallbladder|colon.*", 26, 34, 75),
    SkinDepth("spleen", 100, 24, 46),
    SkinDepth("kidney.*|adrenal gland", 118, 54, 58),
    SkinDepth("bladder|prostate", 29, 128, 100),
    SkinDepth("lung.*", 29, 24, 33),
    SkinDepth("heart|atrial appendage", 45, 90, 105),
    SkinDepth("iliac (artery|vena)", 45, 110, 110),
    SkinDepth("iliopsoas", 130, 95, 75),
    SkinDepth("spinal cord", 110, 100, 50),
    SkinDepth(".*", 90, 125, 105),
)


@dataclass(frozen=True)
class LabelRoles:
    """Lookup tables over label ids 0-255: ``depth_class`` is an index into SKIN_DEPTHS or −1, the others are bool."""

    depth_class: np.ndarray
    left: np.ndarray
    right: np.ndarray
    central: np.ndarray
    arm: np.ndarray
    leg: np.ndarray
    shoulder: np.ndarray
    head: np.ndarray


@lru_cache(maxsize=1)
def label_roles() -> LabelRoles:
    """What each label of the vocabulary says about the body outline."""
    depth_class = np.full(256, -1, np.int16)
    flags = {name: np.zeros(256, bool) for name in ("left", "right", "central", "arm", "leg", "shoulder", "head")}
    patterns = {
        "central": "vertebrae .*|sacrum|skull|brain|spinal cord|sternum",
        "arm": "humerus",
        "leg": "femur",
        "shoulder": "scapula|clavicula",
        "head": "skull|brain",
    }
    for label in load_vocabulary().labels:
        if label.id == BODY or label.dummy:
            continue
        name = re.sub(r"\b(left|right) ", "", label.name)
        depth_class[label.id] = next(i for i, row in enumerate(SKIN_DEPTHS) if re.fullmatch(row.names, name))
        for role, pattern in patterns.items():
            flags[role][label.id] = bool(re.fullmatch(pattern, name))
        flags["left"][label.id] = label.side == "left"
        flags["right"][label.id] = label.side == "right"
    # The liver and the spleen carry no side in their names, yet each lies on one.
    flags["right"][load_vocabulary().find("liver").id] = True
    flags["left"][load_vocabulary().find("spleen").id] = True
    return LabelRoles(depth_class, **flags)
