"""The CT as a file of its own that says that it is synthetic: NIfTI in its description, NRRD in its header."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import slicer

from SynthCTModule.Translation import _
from SynthCTModule.WriteNode import writeNode

NOTICE = "Synthetic, not a patient, not for clinical use"
NOTICE_ATTRIBUTE = "SynthCT.Notice"
"""Slicer writes the attributes of a volume into the header of an NRRD file."""
_DESCRIPTION = slice(148, 228)
"""Bytes of NIfTI-1's header for the description."""


def saveCt(volumeNode: Any, path: Path) -> None:
    """Save a volume node as .nii.gz or .nrrd; the file appears complete or not at all.

    Raises ValueError for another ending, RuntimeError when it cannot be written.
    """
    isNifti = path.name.lower().endswith(".nii.gz")
    if not isNifti and path.suffix.lower() != ".nrrd":
        raise ValueError(_("A CT is saved as .nii.gz or .nrrd, not as '{name}'.").format(name=path.name))
    volumeNode.SetAttribute(NOTICE_ATTRIBUTE, NOTICE)
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode() if isNifti else slicer.vtkMRMLNRRDStorageNode()
    writeNode(volumeNode, storage, path, _describe if isNifti else None)


def _describe(path: Path) -> None:
    """Put the notice into the description of a compressed NIfTI file."""
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[_DESCRIPTION] = NOTICE.encode("ascii").ljust(80, b"\0")
    path.write_bytes(gzip.compress(bytes(data), 6))
