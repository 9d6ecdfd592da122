"""How a case is shown: layout and position when it is loaded, window and rendering of the CT that is made from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import slicer

from SynthCTModule.LabelArray import labelArray
from SynthCTModule.OrganCheckTable import labelCenters
from SynthCTModule.ResultNodes import jumpTo
from SynthCTModule.WindowPresets import applyWindow

_LAYOUTS = {
    "four-up": "FourUpView",
    "conventional": "ConventionalView",
    "axial": "OneUpRedSliceView",
    "sagittal": "OneUpYellowSliceView",
    "coronal": "OneUpGreenSliceView",
    "3d": "OneUp3DView",
}
_WINDOWS = {"lung": "lung", "soft-tissue": "softTissue", "bone": "bone", "brain": "brain"}


def applyLayout(view: Mapping[str, Any], node: Any) -> None:
    """Layout and slice position of a case (``view`` of its case.json) for its segmentation node."""
    if view.get("layout") in _LAYOUTS:
        layout = getattr(slicer.vtkMRMLLayoutNode, f"SlicerLayout{_LAYOUTS[view['layout']]}")
        slicer.app.layoutManager().setLayout(layout)
    jumpTo(_position(view, node))


def applyImageView(view: Mapping[str, Any], ct: Any) -> None:
    """Window of a case for a CT that was made from it."""
    if view.get("window") in _WINDOWS:
        applyWindow(ct, _WINDOWS[view["window"]])


def _position(view: Mapping[str, Any], node: Any) -> tuple[float, ...]:
    """The place that the case names, else the middle of the segmentation."""
    if "center_ras" in view:
        return tuple(view["center_ras"])
    if "center_label" in view:
        labels, affine = labelArray(node)
        wanted = view["center_label"]
        centers = labelCenters(np.where(labels == wanted, labels, 0).astype(np.uint8), affine)
        if wanted in centers:
            return centers[wanted]
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    return tuple((low + high) / 2 for low, high in zip(bounds[::2], bounds[1::2], strict=True))
