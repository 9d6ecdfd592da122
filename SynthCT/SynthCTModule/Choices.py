"""Choices of the panel: each value is what the job file says, each label what users see."""

from __future__ import annotations

from enum import Enum

from SynthCTModule.Translation import _


class Choice(Enum):
    """One of several values."""

    def label(self) -> str:
        """What users see."""
        return _labels()[self]


class RegionChoice(Choice):
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


class PresetChoice(Choice):
    """Steps and solver by name; what they are is in the model's card."""

    STANDARD = "standard"
    DRAFT = "draft"
    BEST = "best"


class DeviceChoice(Choice):
    """Where the networks run."""

    AUTOMATIC = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class LabelScheme(Choice):
    """What the numbers of a label map volume mean where its color table does not say."""

    DETECT = ""
    MAISI = "maisi"
    TOTALSEGMENTATOR = "totalsegmentator"


def _labels() -> dict[Choice, str]:
    return {
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
        PresetChoice.STANDARD: _("Standard"),
        PresetChoice.DRAFT: _("Draft, fastest"),
        PresetChoice.BEST: _("Best, slowest"),
        DeviceChoice.AUTOMATIC: _("Automatic"),
        DeviceChoice.CPU: _("Processor (CPU)"),
        DeviceChoice.CUDA: _("NVIDIA graphics card"),
        DeviceChoice.MPS: _("Apple graphics (MPS)"),
        LabelScheme.DETECT: _("Detect"),
        LabelScheme.MAISI: _("MAISI ids"),
        LabelScheme.TOTALSEGMENTATOR: _("TotalSegmentator classes"),
    }
