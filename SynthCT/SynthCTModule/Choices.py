"""Choices of the panel: each value is what the job file says, each label what users see."""

from __future__ import annotations

from enum import Enum

from SynthCTModule.Translation import _


class RegionChoice(Enum):
    """Part of the body; AUTOMATIC: taken from the labels."""

    AUTOMATIC = ""
    HEAD = "head"
    HEAD_CHEST = "head-chest"
    HEAD_ABDOMEN = "head-chest-abdomen"
    WHOLE = "head-chest-abdomen-pelvis"
    CHEST = "chest"
    CHEST_ABDOMEN = "chest-abdomen"
    CHEST_PELVIS = "chest-abdomen-pelvis"
    ABDOMEN = "abdomen"
    ABDOMEN_PELVIS = "abdomen-pelvis"
    PELVIS = "pelvis"

    def label(self) -> str:
        """What users see."""
        names = {
            RegionChoice.AUTOMATIC: _("Automatic, from the labels"),
            RegionChoice.HEAD: _("Head and neck"),
            RegionChoice.HEAD_CHEST: _("Head to chest"),
            RegionChoice.HEAD_ABDOMEN: _("Head to abdomen"),
            RegionChoice.WHOLE: _("Head to pelvis"),
            RegionChoice.CHEST: _("Chest"),
            RegionChoice.CHEST_ABDOMEN: _("Chest and abdomen"),
            RegionChoice.CHEST_PELVIS: _("Chest to pelvis"),
            RegionChoice.ABDOMEN: _("Abdomen"),
            RegionChoice.ABDOMEN_PELVIS: _("Abdomen and pelvis"),
            RegionChoice.PELVIS: _("Pelvis and thighs"),
        }
        return names[self]


class PresetChoice(Enum):
    """Steps and solver by name; what they are is in the model's card."""

    STANDARD = "standard"
    DRAFT = "draft"
    BEST = "best"

    def label(self) -> str:
        """What users see."""
        names = {
            PresetChoice.STANDARD: _("Standard"),
            PresetChoice.DRAFT: _("Draft, fastest"),
            PresetChoice.BEST: _("Best, slowest"),
        }
        return names[self]


class DeviceChoice(Enum):
    """Where the networks run."""

    AUTOMATIC = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"

    def label(self) -> str:
        """What users see."""
        names = {
            DeviceChoice.AUTOMATIC: _("Automatic"),
            DeviceChoice.CPU: _("Processor (CPU)"),
            DeviceChoice.CUDA: _("NVIDIA graphics card"),
            DeviceChoice.MPS: _("Apple graphics (MPS)"),
        }
        return names[self]


class LabelScheme(Enum):
    """What the numbers of a label map volume mean where its color table does not say."""

    DETECT = ""
    MAISI = "maisi"
    TOTALSEGMENTATOR = "totalsegmentator"

    def label(self) -> str:
        """What users see."""
        names = {
            LabelScheme.DETECT: _("Detect"),
            LabelScheme.MAISI: _("MAISI ids"),
            LabelScheme.TOTALSEGMENTATOR: _("TotalSegmentator classes"),
        }
        return names[self]
