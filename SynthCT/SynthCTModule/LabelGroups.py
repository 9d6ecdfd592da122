"""Organ systems and regions of the label table in words that can be translated."""

from __future__ import annotations

from SynthCTModule.Translation import _


def groupName(group: str) -> str:
    """An organ system as users see it; one that is not known here as the table says."""
    names = {
        "Cardiovascular": _("Cardiovascular"),
        "Digestive": _("Digestive"),
        "Endocrine": _("Endocrine"),
        "Lesions": _("Lesions"),
        "Lymphatic": _("Lymphatic"),
        "Muscles": _("Muscles"),
        "Nervous": _("Nervous"),
        "Other bones": _("Other bones"),
        "Reproductive": _("Reproductive"),
        "Respiratory": _("Respiratory"),
        "Ribs and sternum": _("Ribs and sternum"),
        "Spine": _("Spine"),
        "Urinary": _("Urinary"),
    }
    return names.get(group, group)


def regionName(region: str) -> str:
    """A region of the body as users see it."""
    names = {"head": _("Head"), "chest": _("Chest"), "abdomen": _("Abdomen"), "pelvis": _("Pelvis")}
    return names.get(region, region)
