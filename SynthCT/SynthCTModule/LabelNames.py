"""Names of labels in words that can be translated.

Segments keep the English names: files carry them, and other programs know segments by them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from SynthCTModule.LabelColors import vocabulary
from SynthCTModule.Translation import _


def labelName(labelId: int) -> str:
    """A label as users see it in lists, questions and sentences."""
    name = vocabulary().by_id(labelId).display_name
    return labelNames().get(name, name)


def searchLabels(text: str) -> list[Any]:
    """Labels (SynthCTLib.labels) whose translated name contains all words of ``text``, then those found in English.

    Parts of words count in translations, since many languages join words and some do not part them.
    """
    from SynthCTLib.labels import name_words

    words = text.casefold().split()
    names = {label.id: labelName(label.id).casefold() for label in vocabulary().search("") if _isTranslated(label)}
    own = [labelId for labelId, name in names.items() if words and all(word in name for word in words)]
    own.sort(key=lambda labelId: not names[labelId].startswith(words[0]))
    # A text without a letter of the English names would find all of them.
    found = [label.id for label in vocabulary().search(text)] if not words or name_words(text) else []
    return [vocabulary().by_id(labelId) for labelId in dict.fromkeys((*own, *found))]


def _isTranslated(label: Any) -> bool:
    return labelName(label.id) != label.display_name


@cache
def labelNames() -> dict[str, str]:
    """Names of the label table with their translation; Slicer sets its language when it starts."""
    return {
        "Liver": _("Liver"),
        "Spleen": _("Spleen"),
        "Pancreas": _("Pancreas"),
        "Right kidney": _("Right kidney"),
        "Aorta": _("Aorta"),
        "Inferior vena cava": _("Inferior vena cava"),
        "Right adrenal gland": _("Right adrenal gland"),
        "Left adrenal gland": _("Left adrenal gland"),
        "Gallbladder": _("Gallbladder"),
        "Esophagus": _("Esophagus"),
        "Stomach": _("Stomach"),
        "Duodenum": _("Duodenum"),
        "Left kidney": _("Left kidney"),
        "Urinary bladder": _("Urinary bladder"),
        "Portal and splenic vein": _("Portal and splenic vein"),
        "Small bowel": _("Small bowel"),
        "Brain": _("Brain"),
        "Lung tumor": _("Lung tumor"),
        "Pancreatic tumor": _("Pancreatic tumor"),
        "Liver vessels": _("Liver vessels"),
        "Liver tumor": _("Liver tumor"),
        "Colon cancer (primary tumor)": _("Colon cancer (primary tumor)"),
        "Left upper lobe of lung": _("Left upper lobe of lung"),
        "Left lower lobe of lung": _("Left lower lobe of lung"),
        "Right upper lobe of lung": _("Right upper lobe of lung"),
        "Right middle lobe of lung": _("Right middle lobe of lung"),
        "Right lower lobe of lung": _("Right lower lobe of lung"),
        "Vertebra L5": _("Vertebra L5"),
        "Vertebra L4": _("Vertebra L4"),
        "Vertebra L3": _("Vertebra L3"),
        "Vertebra L2": _("Vertebra L2"),
        "Vertebra L1": _("Vertebra L1"),
        "Vertebra T12": _("Vertebra T12"),
        "Vertebra T11": _("Vertebra T11"),
        "Vertebra T10": _("Vertebra T10"),
        "Vertebra T9": _("Vertebra T9"),
        "Vertebra T8": _("Vertebra T8"),
        "Vertebra T7": _("Vertebra T7"),
        "Vertebra T6": _("Vertebra T6"),
        "Vertebra T5": _("Vertebra T5"),
        "Vertebra T4": _("Vertebra T4"),
        "Vertebra T3": _("Vertebra T3"),
        "Vertebra T2": _("Vertebra T2"),
        "Vertebra T1": _("Vertebra T1"),
        "Vertebra C7": _("Vertebra C7"),
        "Vertebra C6": _("Vertebra C6"),
        "Vertebra C5": _("Vertebra C5"),
        "Vertebra C4": _("Vertebra C4"),
        "Vertebra C3": _("Vertebra C3"),
        "Vertebra C2": _("Vertebra C2"),
        "Vertebra C1": _("Vertebra C1"),
        "Trachea": _("Trachea"),
        "Left iliac artery": _("Left iliac artery"),
        "Right iliac artery": _("Right iliac artery"),
        "Left iliac vein": _("Left iliac vein"),
        "Right iliac vein": _("Right iliac vein"),
        "Colon": _("Colon"),
        "Left rib 1": _("Left rib 1"),
        "Left rib 2": _("Left rib 2"),
        "Left rib 3": _("Left rib 3"),
        "Left rib 4": _("Left rib 4"),
        "Left rib 5": _("Left rib 5"),
        "Left rib 6": _("Left rib 6"),
        "Left rib 7": _("Left rib 7"),
        "Left rib 8": _("Left rib 8"),
        "Left rib 9": _("Left rib 9"),
        "Left rib 10": _("Left rib 10"),
        "Left rib 11": _("Left rib 11"),
        "Left rib 12": _("Left rib 12"),
        "Right rib 1": _("Right rib 1"),
        "Right rib 2": _("Right rib 2"),
        "Right rib 3": _("Right rib 3"),
        "Right rib 4": _("Right rib 4"),
        "Right rib 5": _("Right rib 5"),
        "Right rib 6": _("Right rib 6"),
        "Right rib 7": _("Right rib 7"),
        "Right rib 8": _("Right rib 8"),
        "Right rib 9": _("Right rib 9"),
        "Right rib 10": _("Right rib 10"),
        "Right rib 11": _("Right rib 11"),
        "Right rib 12": _("Right rib 12"),
        "Left humerus": _("Left humerus"),
        "Right humerus": _("Right humerus"),
        "Left scapula": _("Left scapula"),
        "Right scapula": _("Right scapula"),
        "Left clavicle": _("Left clavicle"),
        "Right clavicle": _("Right clavicle"),
        "Left femur": _("Left femur"),
        "Right femur": _("Right femur"),
        "Left hip bone": _("Left hip bone"),
        "Right hip bone": _("Right hip bone"),
        "Sacrum": _("Sacrum"),
        "Left gluteus maximus muscle": _("Left gluteus maximus muscle"),
        "Right gluteus maximus muscle": _("Right gluteus maximus muscle"),
        "Left gluteus medius muscle": _("Left gluteus medius muscle"),
        "Right gluteus medius muscle": _("Right gluteus medius muscle"),
        "Left gluteus minimus muscle": _("Left gluteus minimus muscle"),
        "Right gluteus minimus muscle": _("Right gluteus minimus muscle"),
        "Left deep back muscles": _("Left deep back muscles"),
        "Right deep back muscles": _("Right deep back muscles"),
        "Left iliopsoas muscle": _("Left iliopsoas muscle"),
        "Right iliopsoas muscle": _("Right iliopsoas muscle"),
        "Left atrial appendage": _("Left atrial appendage"),
        "Brachiocephalic trunk": _("Brachiocephalic trunk"),
        "Left brachiocephalic vein": _("Left brachiocephalic vein"),
        "Right brachiocephalic vein": _("Right brachiocephalic vein"),
        "Left common carotid artery": _("Left common carotid artery"),
        "Right common carotid artery": _("Right common carotid artery"),
        "Costal cartilages": _("Costal cartilages"),
        "Heart": _("Heart"),
        "Left kidney cyst": _("Left kidney cyst"),
        "Right kidney cyst": _("Right kidney cyst"),
        "Prostate": _("Prostate"),
        "Pulmonary veins": _("Pulmonary veins"),
        "Skull": _("Skull"),
        "Spinal cord": _("Spinal cord"),
        "Sternum": _("Sternum"),
        "Left subclavian artery": _("Left subclavian artery"),
        "Right subclavian artery": _("Right subclavian artery"),
        "Superior vena cava": _("Superior vena cava"),
        "Thyroid gland": _("Thyroid gland"),
        "Vertebra S1": _("Vertebra S1"),
        "Bone lesion": _("Bone lesion"),
        "Airways (trachea and bronchi)": _("Airways (trachea and bronchi)"),
        "Body (everything unlabeled)": _("Body (everything unlabeled)"),
    }
