"""The CTs of a finished run become nodes of the scene."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from SynthCTModule.DicomExport import INSTANCES_ATTRIBUTE
from SynthCTModule.ResultNodes import MASK_ROLE, ResultNodes, addResult, readResult, removeResult, showResult


def importRun(
    results: list[dict[str, Any]],
    inputNode: Any,
    settings: Mapping[str, Any],
    outputVolumeNode: Any = None,
    scene: Any = None,
) -> Generator[None, None, list[ResultNodes]]:
    """Import the results of a run's last event beside the input, in steps, and show the last one.

    inputNode: None for a model that takes no segmentation; its CTs are named after the model.
    settings: of the run, stored on the nodes with each result's own seed.
    outputVolumeNode: volume that gets the first CT instead of a new node.
    All come into the scene in the last step: what is given up, or cannot be read, leaves no node behind.
    """
    name = inputNode.GetName() if inputNode is not None else str(settings["model"])
    read = []
    for result in results:
        read.append((yield from readResult(result)))
    made: list[ResultNodes] = []
    try:
        for result, files in zip(results, read, strict=True):
            own = {**settings, "seed": result["seed"], "count": 1}
            made.append(addResult(files, inputNode, own, name, scene))
        nodes = list(made)
        if outputVolumeNode is not None and outputVolumeNode.GetScene() is not None:  # else removed during the run
            nodes[0] = ResultNodes(_moved(nodes[0].ct, outputVolumeNode), nodes[0].mask)
        showResult(nodes[-1])
    except BaseException:
        for one in made:
            removeResult(one.ct, one.mask)
        raise
    return nodes


def _moved(ct: Any, target: Any) -> Any:
    """Give a CT's image, position, window, attributes and mask (or none) to another node, and remove the CT."""
    if target.GetDisplayNode() is None:
        target.SetAndObserveImageData(None)  # else Slicer looks at all voxels for a window of its own
        target.CreateDefaultDisplayNodes()
    target.GetDisplayNode().CopyContent(ct.GetDisplayNode())
    target.SetAndObserveImageData(ct.GetImageData())
    target.CopyOrientation(ct)
    for attribute in ct.GetAttributeNames():
        target.SetAttribute(attribute, ct.GetAttribute(attribute))
    target.RemoveAttribute(INSTANCES_ATTRIBUTE)  # DICOM files are of the image that it had before
    target.SetDescription(ct.GetDescription())
    target.SetNodeReferenceID(MASK_ROLE, ct.GetNodeReferenceID(MASK_ROLE))
    ct.GetScene().RemoveNode(ct)
    return target
