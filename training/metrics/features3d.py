"""Features of whole volumes for a 3D Fréchet distance, by convolutions with fixed random weights.

No 3D network with weights that may be passed on is in a package registry. Random filters see how densities and
textures are arranged in all three directions at once, which slices cannot, and do not know anatomy: a score to compare
methods on the same volumes, not one to believe in alone. Few volumes give few points, so that the floor is high.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from training.metrics.canonical import canonical

SIDE = 48
WIDTHS = (8, 16, 32)


class RandomConvolutions3d:
    """int16 HU (X, Y, Z) → (1, 112): logarithms of mean and spread of the maps of three stages, the body scaled to 48³.

    Half of the first filters have no mean, as in :class:`training.metrics.extractors.RandomConvolutions`.
    """

    name = "random-convolutions-3d"

    def __init__(self) -> None:
        rng = np.random.default_rng(20200713)
        self.stages = nn.ModuleList()
        inputs = 1
        for outputs in WIDTHS:
            layer = nn.Conv3d(inputs, outputs, 3, padding=1, padding_mode="reflect")
            weights = rng.standard_normal((outputs, inputs, 3, 3, 3)) * np.sqrt(2 / (27 * inputs))
            if inputs == 1:
                weights[: outputs // 2] -= weights[: outputs // 2].mean((1, 2, 3, 4), keepdims=True)
            layer.load_state_dict({"weight": torch.from_numpy(weights), "bias": torch.zeros(outputs)})
            self.stages.append(nn.Sequential(layer, nn.ReLU(), nn.AvgPool3d(2)))
            inputs = outputs

    @torch.inference_mode()
    def __call__(self, hu: np.ndarray) -> np.ndarray:
        """Features of the volume."""
        maps = torch.from_numpy(canonical(hu, SIDE, -1000, 1000))[None, None] * 2 - 1
        found = []
        for stage in self.stages:
            maps = stage(maps)
            found += [maps.mean((2, 3, 4)), maps.std((2, 3, 4))]
        return torch.cat(found, 1).add(0.01).log().numpy()
