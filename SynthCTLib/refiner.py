"""Decoded image + mask → image: what is smaller than a latent voxel, told by the mask, which is not so coarse.

A latent voxel spans four voxels along each axis, so thin bone, the border of an organ and a small lesion are lost on
the way through the latent. The mask that the CT was painted from shows them at full resolution. The refiner is a small
residual network that reads both. Residual blocks without normalization (EDSR, arXiv 1707.02921) on a grid of half the
size (sub-pixel convolution, 1609.05158): each voxel depends on its neighborhood alone, so a volume can be refined slab
by slab with the same result.
"""

from __future__ import annotations

import numpy as np
import torch
from monai.networks.utils import pixelshuffle, pixelunshuffle
from torch import nn

from SynthCTLib.progress import Progress

STAGE = "decode"
"""Refining is the end of decoding for whoever watches."""

FACTOR = 2
"""Voxels along each axis that become channels of one voxel of the network's grid."""

LABELS = 256
SLAB = 64
"""Planes along X that are refined at once."""


class ResidualBlock(nn.Module):
    """x + conv(SiLU(conv(SiLU(x))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(channels, channels, 3, padding=1)
        self.second = nn.Conv3d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, x, y, z), unchanged in shape."""
        y: torch.Tensor = self.first(nn.functional.silu(x))
        return x + self.second(nn.functional.silu(y))


class Refiner(nn.Module):
    """Adds to an image what its mask tells; without training it adds nothing."""

    def __init__(self, channels: int, blocks: int, label_channels: int) -> None:
        """``label_channels``: numbers by which each label id is known to the network, learned from the first on."""
        super().__init__()
        self.labels = nn.Embedding(LABELS, label_channels)
        nn.init.zeros_(self.labels.weight)
        self.enter = nn.Conv3d(FACTOR**3 * (label_channels + 1), channels, 3, padding=1)
        self.blocks = nn.ModuleList([ResidualBlock(channels) for _ in range(blocks)])
        self.leave = nn.Conv3d(channels, FACTOR**3, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.bias)

    @property
    def reach(self) -> int:
        """Voxels to each side that a voxel of the network's grid depends on."""
        return FACTOR * (2 * len(self.blocks) + 2)

    def forward(self, image: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The refined image, not cut off.

        Args:
            image: (N, 1, X, Y, Z) in the unit range, even sides. labels: (N, X, Y, Z), ids 0-255.
        """
        known = self.labels(labels.long()).permute(0, 4, 1, 2, 3)
        together = torch.cat([image, known], dim=1)
        x = self.enter(pixelunshuffle(together, 3, FACTOR).contiguous(memory_format=torch.channels_last_3d))
        for block in self.blocks:
            x = block(x)
        return image + pixelshuffle(self.leave(nn.functional.silu(x)), 3, FACTOR)


@torch.inference_mode()
def refine(refiner: Refiner, unit: np.ndarray, labels: np.ndarray, progress: Progress | None = None) -> np.ndarray:
    """The refined image (X, Y, Z) float32 in [0, 1].

    Args:
        unit: (X, Y, Z) float32 in [0, 1], as decoded; even sides. labels: the mask, same shape.
        progress: told after each slab (stage "decode"); cancels between slabs.
    """
    progress = progress or Progress()
    device = next(refiner.parameters()).device
    result = np.empty_like(unit)
    progress.step(STAGE, 0, len(unit))
    for start in range(0, len(unit), SLAB):
        stop = min(start + SLAB, len(unit))
        first, last = max(0, start - refiner.reach), min(len(unit), stop + refiner.reach)
        image, ids = (
            torch.from_numpy(np.ascontiguousarray(part[first:last]))[None].to(device) for part in (unit, labels)
        )
        refined = refiner(image[None], ids)[0, 0].clamp(0, 1)
        result[start:stop] = refined[start - first : stop - first].cpu().numpy()
        progress.step(STAGE, stop, len(unit))
    return result
